"""Makes a catalogue for a corpus that nobody described, from the labels its structured rows use.

    Area - total: 2,381,740 sq km                 number in "sq km", single    "whose total area is ..."
    Capital - name: Algiers                       text, single                 "whose capital is ..."
    Land boundaries - border countries: Libya ... entity, many                 "that shares a land border with ..."
    Independence: 5 July 1962 (from France)       date, single                 "whose date of independence is ..."

Types are the words of `Page.entity_type`. A label becomes a relation of the types on whose pages it is frequent, if
most of its values read as one kind: a date, a number with one unit, linked entities, or a short text. Prose, remarks
and sentence-like values make no relation, and a single value that does not read as its label's kind makes no fact.

Figures stamped with a year, `1,340,478 (2025 est.)`, are of that year where nearly all subjects have the same one
("whose birth rate in 2025 was ..."); the few values of other years make no fact. Where years differ between subjects, a
relation per year would leave most subjects unstated, so that nothing could be excluded. Such figures are timeless values
*as last reported* by the corpus, and their words say so ("whose latest reported total population is ..."); the stamp
stays readable in the evidence. Labels that name their year ("Exports 2024") are a relation per year.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from datagen.knowledge.catalogue import Catalogue, EntityType, ObjectKind, Relation, make_catalogue
from datagen.knowledge.corpus_values import (
    ValueRule,
    cut_value,
    is_clean_item,
    is_clean_text,
    is_kept,
    list_items,
    strip_remarks,
)
from datagen.knowledge.label_words import (
    LabelEntry,
    LabelTable,
    load_labels,
    plain_unit,
    plural_of,
    series_of,
    words_for,
)
from datagen.knowledge.literals import normalise_unit, parse_literal
from datagen.knowledge.structured_rows import Span, trim
from datagen.records.page import Link, Page

_DATE_WORD = re.compile(r"\b(?:date|year|born|died|founded|established|built|opened|released|published|independence)\b")
_FULL_YEAR = re.compile(r"\b\d{4}\b")
_SLUG = re.compile(r"[^a-z0-9]+")
_PERSON_TYPES = frozenset({"person", "artist", "author", "writer", "politician", "player", "scientist", "musician"})


@dataclass(frozen=True, slots=True)
class InductionOptions:
    """Thresholds; set together on a corpus of 255 country profiles with 370 frequent labels."""

    min_pages: int = 3
    """Pages of a type that must have a label in a form that reads."""
    min_share: float = 0.25
    """The same as a share of the type's pages."""
    min_clean: float = 0.6
    """Share of a label's values that must read as its kind."""
    min_distinct: int = 3
    """Fewer different values describe nobody."""
    min_same_year: float = 0.97
    """Share of a label's values whose year must be the same for the words to name it."""


@dataclass(slots=True)
class _Value:
    page: Page
    span: Span
    links: tuple[Link, ...]


@dataclass(slots=True)
class _Profile:
    """What the values of one label look like on the pages of one type."""

    kind: ObjectKind
    unit: str = ""
    rule: ValueRule = field(default_factory=ValueRule)
    single: bool = True
    clean: int = 0
    stamped: bool = False
    object_types: tuple[str, ...] = ()


def induce_catalogue(
    pages: Iterable[Page],
    options: InductionOptions | None = None,
    *,
    name: str = "induced",
    labels: Path | None = None,
) -> Catalogue:
    """A catalogue whose relations are the readable labels of `pages`. Deterministic for a set of pages in any order."""
    options = options or InductionOptions()
    table = load_labels(labels)
    survey = _collect(pages, options)
    types = [_entity_type(word, table) for word in sorted(survey.counts)]
    relations: list[Relation] = []
    properties = {f"alias:{label}": "name" for _, label in sorted(survey.values) if table.is_alias(label)}
    properties |= {f"called:{name}": other for name, other in sorted(table.called.items())}
    for label in _without_old_years(_pages_by_label(survey)):
        entry = table.find(label)
        if table.is_alias(label) or (entry is not None and entry.skip):
            continue
        for words, profile in _by_type(label, entry, survey):
            relation = _relation(label, entry, words, profile, {r.id for r in relations})
            relations.append(relation)
            properties |= _properties(relation, profile)
    return make_catalogue(name, types, _distinct_words(relations), properties)


@dataclass(frozen=True, slots=True)
class _Survey:
    """What was collected: values by (type, label), pages by type, the type of each address."""

    values: dict[tuple[str, str], list[_Value]]
    counts: Counter[str]
    type_of: dict[str, str]
    options: InductionOptions


def _collect(pages: Iterable[Page], options: InductionOptions) -> _Survey:
    values: dict[tuple[str, str], list[_Value]] = defaultdict(list)
    counts: Counter[str] = Counter()
    type_of: dict[str, str] = {}
    for page in sorted(pages, key=lambda page: page.url):
        if page.entity_type is None:
            continue
        kind = _SLUG.sub("_", page.entity_type.casefold()).strip("_")
        counts[kind] += 1
        type_of[page.about_url or page.url] = type_of[page.url] = kind
        seen: set[str] = set()
        for label, value in _rows(page):
            if label not in seen:
                values[kind, label].append(value)
            seen.add(label)
    return _Survey(values, counts, type_of, options)


def _rows(page: Page) -> Iterator[tuple[str, _Value]]:
    text = page.text
    start = text.rfind("\n\n") + 2 if "\n\n" in text else 0
    links = iter(sorted(page.links, key=lambda link: link.start))
    link = next(links, None)
    for line in text[start:].split("\n"):
        end = start + len(line)
        inside = []
        while link is not None and link.start < end:
            if link.start >= start:
                inside.append(link)
            link = next(links, None)
        label, colon, _ = line.partition(": ")
        if colon and " | " not in line:
            yield label, _Value(page, trim(text, start + len(label) + 2, end), tuple(inside))
        start = end + 1


def _pages_by_label(survey: _Survey) -> Counter[str]:
    pages: Counter[str] = Counter()
    for (_, label), given in survey.values.items():
        pages[label] += len(given)
    return pages


def _without_old_years(pages: Counter[str]) -> list[str]:
    """Labels in order; of a series by years only the latest that most subjects have.

    The years of a series say nearly the same about a subject and would crowd a question.
    """
    series: dict[str, dict[int, str]] = defaultdict(dict)
    for label in pages:
        place = series_of(label)
        if place is not None:
            series[place[0]][place[1]] = label
    kept = {label for label in pages if series_of(label) is None}
    for years in series.values():
        most = max(pages[label] for label in years.values())
        kept.add(years[max(year for year, label in years.items() if pages[label] * 3 >= most * 2)])
    return sorted(kept)


def _entity_type(type_id: str, table: LabelTable) -> EntityType:
    word = type_id.replace("_", " ")
    singular, plural = table.types.get(type_id, (word, plural_of(word)))
    return EntityType(type_id, singular, plural, who=type_id in _PERSON_TYPES)


def _by_type(label: str, entry: LabelEntry | None, survey: _Survey) -> Iterator[tuple[tuple[str, ...], _Profile]]:
    """Profiles of a label, types with the same shape of values together."""
    found: dict[tuple[str, str, str | None], tuple[list[str], _Profile]] = {}
    for kind in sorted(survey.counts):
        given = survey.values.get((kind, label), [])
        needed = max(survey.options.min_pages, survey.options.min_share * survey.counts[kind])
        profile = _profile(label, entry, given, survey) if len(given) >= needed else None
        if profile is None or profile.clean < needed:
            continue
        shape = (profile.kind, profile.unit, profile.rule.separator)
        if shape in found:
            found[shape][0].append(kind)
            known = found[shape][1]
            known.object_types = tuple(sorted({*known.object_types, *profile.object_types}))
            known.single = known.single and profile.single
        else:
            found[shape] = ([kind], profile)
    for kinds, profile in found.values():
        yield tuple(kinds), profile


def _profile(label: str, entry: LabelEntry | None, values: list[_Value], survey: _Survey) -> _Profile | None:
    """The kind of a label's values, None where no kind fits enough of them."""
    rule = ValueRule((entry.list or None) if entry else None, (entry.cut or None) if entry else None)
    if entry is not None and entry.keep:
        values = [v for v in values if is_kept(v.page.text, v.span, ValueRule(keep=entry.keep))]
    wanted = entry.kind if entry else ""
    attempts = {
        "entity": lambda: _as_entities(values, rule, survey.type_of),
        "date": lambda: _as_dates(label, values, rule, forced=wanted == "date"),
        "number": lambda: _as_numbers(values, rule),
        "text": lambda: _as_texts(values, rule),
    }
    stamps = Counter(strip_remarks(v.page.text, v.span)[1] for v in values)
    stamped = (len(values) - stamps[None]) * 2 >= len(values)
    year = next((y for y, n in stamps.items() if y and n >= survey.options.min_same_year * len(values)), None)
    for kind in (wanted,) if wanted else tuple(attempts):
        profile, distinct = attempts[kind]()
        enough = survey.options.min_clean * len(values)
        if profile.clean >= enough and (wanted or distinct >= survey.options.min_distinct):
            named = kind == "number" and stamped and series_of(label) is None
            profile.stamped = stamped
            profile.rule = replace(profile.rule, year=year if named else None)
            if entry is not None:
                profile.rule = replace(profile.rule, none_if=entry.none_if or None, keep=entry.keep or None)
            return profile
    return None


def _bare(value: _Value, rule: ValueRule) -> str:
    start, end = cut_value(value.page.text, value.span, rule)
    return value.page.text[start:end]


def _as_numbers(values: list[_Value], rule: ValueRule) -> tuple[_Profile, int]:
    parsed = [parse_literal(_bare(value, rule), "number") for value in values]
    units = Counter(literal.unit for literal in parsed if literal is not None)
    unit = max(sorted(units), key=lambda u: units[u], default="")
    kept = {(x.low, x.high) for x in parsed if x is not None and x.unit == unit}
    return _Profile("number", normalise_unit(unit), rule, clean=units[unit]), len(kept)


def _as_dates(label: str, values: list[_Value], rule: ValueRule, *, forced: bool) -> tuple[_Profile, int]:
    bare = [text for value in values if _FULL_YEAR.search(text := _bare(value, rule))]
    parsed = [literal for text in bare if (literal := parse_literal(text, "date")) is not None]
    # Four digits alone are a year only where the label speaks of time.
    precise = sum(literal.high - literal.low < 360 for literal in parsed)
    if not forced and not precise * 2 >= len(parsed) and not _DATE_WORD.search(label.casefold()):
        return _Profile("date"), 0
    return _Profile("date", rule=rule, clean=len(parsed)), len({(x.low, x.high) for x in parsed})


def _as_texts(values: list[_Value], rule: ValueRule) -> tuple[_Profile, int]:
    clean = 0
    seen: set[str] = set()
    for value in values:
        start, end = cut_value(value.page.text, value.span, rule)
        text = value.page.text
        if rule.separator is None:
            good = [text[start:end]] if is_clean_text(text[start:end].strip('"“”')) else []
        else:
            good = [item for a, b in list_items(text, (start, end), rule.separator) if is_clean_item(item := text[a:b])]
        clean += bool(good)
        seen.update(good)
    return _Profile("text", rule=rule, single=rule.separator is None, clean=clean), len(seen)


def _as_entities(values: list[_Value], rule: ValueRule, type_of: dict[str, str]) -> tuple[_Profile, int]:
    clean, several = 0, 0
    targets: Counter[str] = Counter()
    separator = rule.separator or "; "
    for value in values:
        span = cut_value(value.page.text, value.span, rule)
        starts = {link.start: link.url for link in value.links}
        items = list(list_items(value.page.text, span, separator))
        linked = [starts[item[0]] for item in items if item[0] in starts]
        clean += len(linked) * 2 > len(items)
        several += len(items) > 1
        targets.update(linked)
    types = Counter(type_of[url] for url in targets if url in type_of)
    enough = tuple(sorted(kind for kind, count in types.items() if count * 20 >= sum(types.values())))
    single = rule.separator is None and several * 50 <= len(values)
    rule = ValueRule(None if single else separator, rule.cut)
    return _Profile("entity", rule=rule, single=single, clean=clean, object_types=enough), len(targets)


def _relation(
    label: str, entry: LabelEntry | None, types: tuple[str, ...], profile: _Profile, taken: set[str]
) -> Relation:
    relation_id = _SLUG.sub("_", label.casefold()).strip("_") or "label"
    if relation_id in taken:
        relation_id = f"{relation_id}_{'_'.join(types)}"
    when = profile.rule.year or ("latest" if profile.stamped else "")
    words = words_for(label, entry, profile.kind, unit=profile.unit, single=profile.single, when=when)
    return Relation(
        id=relation_id,
        label=label,
        subject_types=types,
        object_kind=profile.kind,
        object_types=profile.object_types,
        unit=plain_unit(profile.unit)[0],
        single=profile.single,
        changes=entry is not None and entry.changes,
        clue=words.clue,
        inverse=words.inverse if profile.kind == "entity" else (),
        ask=words.ask if profile.kind != "entity" else (),
        origin="induced",
    )


def _properties(relation: Relation, profile: _Profile) -> dict[str, str]:
    rule = profile.rule
    unit = profile.unit if profile.unit != relation.unit else ""
    given = {
        "list": rule.separator,
        "cut": rule.cut,
        "none_if": rule.none_if,
        "unit": unit,
        "year": rule.year,
        "keep": rule.keep,
    }
    return {f"{name}:{relation.id}": value for name, value in given.items() if value}


def _distinct_words(relations: list[Relation]) -> list[Relation]:
    """Drop a relation whose words another one already has: a question could not tell them apart."""
    kept: list[Relation] = []
    used: set[tuple[str, str, tuple[str, ...]]] = set()
    for relation in relations:
        words = {(form, relation.object_kind, relation.subject_types) for form in relation.clue}
        if not words & used:
            kept.append(relation)
            used |= words
    return kept
