"""Whom a page is about, and by which words its text means that entity.

The key is the address the markup gives (`about_url`), else the page's own. Names come from the title and from links to
the key; `It`, `She` and `The club` mean the page's subject too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from datagen.knowledge.catalogue import Catalogue
from datagen.records.page import Page

PROFILE_KINDS = frozenset({"encyclopedia", "official", "registry", "profile", "reference", "review", "mirror"})
"""Kinds whose pages are each the page *of* an entity: a link to such a page is a link to the entity."""

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SITE_SUFFIX = re.compile(r"\s+(?:\||–|—|-|::)\s+.*$")
_PARENTHESIS = re.compile(r"\s*\([^()]*\)$")
_MAX_NAME = 100
_NOT_A_NAME = re.compile(
    r"(?:https?:|www\.|\S+\.[a-z]{2,}$|(?:home|here|more|read more|source|official (?:web)?site|website|link)$)",
    re.IGNORECASE,
)
_PERSON_PRONOUNS = ("He", "She", "They")
_THING_PRONOUNS = ("It", "They")
_POSSESSIVES = {"He": "His", "She": "Her", "They": "Their", "It": "Its"}


class TypeNames:
    """Maps the raw words that markup uses for a type to catalogue types."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._types: dict[str, str] = {}
        for kind in catalogue.types.values():
            for word in (kind.id, kind.singular, kind.plural):
                self._types.setdefault(_fold(word), kind.id)
        for name, type_id in catalogue.properties.items():
            if name.startswith("type:"):
                self._types[_fold(name.removeprefix("type:"))] = type_id
        self._folders: dict[tuple[str, str], str | None] = {}
        self._plurals = tuple((kind.plural.casefold(), kind.id) for kind in catalogue.types.values())

    def find(self, raw: str | None) -> str | None:
        """Catalogue type for a word such as `FootballClub`, `football-clubs` or `Football club`."""
        return self._types.get(_fold(raw)) if raw else None

    def find_in_url(self, url: str) -> str | None:
        """Type by the folder an address lies in (`/football-clubs/harlan-rovers`)."""
        folder = url.rstrip("/").rpartition("/")[0]
        parts = urlsplit(folder)
        place = (parts.netloc, parts.path)
        if place not in self._folders:
            self._folders[place] = next(filter(None, map(self.find, reversed(parts.path.split("/")))), None)
        return self._folders[place]

    def find_in_title(self, title: str) -> str | None:
        """Type of the entries of a page called, say, `Football clubs of Veltrin`."""
        folded = f" {title.casefold()} "
        found = [(at, -len(plural), kind) for plural, kind in self._plurals if (at := folded.find(f" {plural} ")) != -1]
        return min(found)[2] if found else None


def _fold(raw: str) -> str:
    return _CAMEL.sub(" ", raw.rpartition("/")[2]).replace("_", " ").replace("-", " ").casefold().strip()


@dataclass(frozen=True, slots=True)
class Subject:
    """The page's entity and the words for it; `name` is None where the page only links to it."""

    key: str
    type: str | None
    name: str | None
    aliases: tuple[str, ...]
    names: frozenset[str]
    pronouns: frozenset[str]
    """`It`, `She`, `The club`: any of these in a slot means this entity where no other is in view."""
    possessives: frozenset[str]
    """`Its`, `Her`, `The club's`."""


def is_name(anchor: str) -> bool:
    """Whether a link's words can be a name of what it leads to, as against `here` or `www.atlas.example`."""
    return anchor[:1].isupper() and len(anchor) <= _MAX_NAME and _NOT_A_NAME.match(anchor) is None


def clean_title(title: str) -> tuple[str, ...]:
    """The name in a title, then its longer forms: `Harlan (town) | Atlas` -> `Harlan`, `Harlan (town)`."""
    whole = title.strip()
    short = _SITE_SUFFIX.sub("", whole)
    bare = _PARENTHESIS.sub("", short)
    return tuple(dict.fromkeys(name for name in (bare, short) if name))


def find_subject(page: Page, types: TypeNames, catalogue: Catalogue) -> Subject | None:
    """The entity that rows without a subject and pronouns speak of; None where the page does not say."""
    about_itself = page.about_url in (None, page.url)
    if about_itself and page.source_kind not in PROFILE_KINDS | {"other"}:
        return None
    key = page.about_url or page.url
    kind = types.find(page.entity_type) or types.find_in_url(key)
    if about_itself and kind is None and page.entity_type is not None:
        return None
    own_page = about_itself or page.source_kind in PROFILE_KINDS
    titles = clean_title(page.title) if own_page else ()
    anchors = (link.anchor for link in page.links if link.url == key and is_name(link.anchor))
    names = tuple(dict.fromkeys((*titles, *anchors)))
    return _with_words(key, kind, names, catalogue)


def _with_words(key: str, kind: str | None, names: tuple[str, ...], catalogue: Catalogue) -> Subject:
    words: tuple[str, ...] = (*_PERSON_PRONOUNS, "It")
    singulars: tuple[str, ...] = ()
    if kind is not None:
        entity_type = catalogue.types[kind]
        words = _PERSON_PRONOUNS if entity_type.who else _THING_PRONOUNS
        singulars = (entity_type.singular, *(catalogue.types[p].singular for p in entity_type.parents))
    pronouns = {*words, *(f"The {singular}" for singular in singulars)}
    possessives = {*(_POSSESSIVES[word] for word in words), *(f"The {singular}'s" for singular in singulars)}
    return Subject(
        key,
        kind,
        names[0] if names else None,
        names[1:],
        frozenset(names),
        frozenset(pronouns | {_uncapitalised(word) for word in pronouns}),
        frozenset(possessives | {_uncapitalised(word) for word in possessives}),
    )


def _uncapitalised(word: str) -> str:
    return word[:1].lower() + word[1:]
