"""schema.org JSON-LD: what a page says about itself, and facts about the entity it describes.

    {"@type": "NewsArticle", "datePublished": "2026-01-04", "about": {"@id": "https://a.example/rovers"}}
    {"@type": "SportsTeam", "@id": "...", "foundingDate": "1901", "location": {"name": "Hill End", "@id": "..."}}

The first is a document: its properties are metadata, never rows. The second is an entity: its properties become
`Founding date: 1901` and `Location: Hill End`, linked. Several entities beside the main one become records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from selectolax.lexbor import LexborHTMLParser

from datagen.web.inline import join_values
from datagen.web.linked import LinkedText
from datagen.web.rows import Line, Record, make_row
from datagen.web.sources.raw import clean_url

DOCUMENT_TYPES = frozenset(
    [
        "Article",
        "NewsArticle",
        "ReportageNewsArticle",
        "AnalysisNewsArticle",
        "OpinionNewsArticle",
        "BackgroundNewsArticle",
        "Report",
        "BlogPosting",
        "LiveBlogPosting",
        "SocialMediaPosting",
        "DiscussionForumPosting",
        "QAPage",
        "Question",
        "Answer",
        "Comment",
        "Review",
        "CriticReview",
        "UserReview",
        "WebPage",
        "AboutPage",
        "ProfilePage",
        "CollectionPage",
        "FAQPage",
        "ItemPage",
        "SearchResultsPage",
        "ItemList",
        "BreadcrumbList",
        "WebSite",
        "Dataset",
        "Table",
        "ScholarlyArticle",
        "TechArticle",
        "DefinedTermSet",
        "ImageObject",
        "VideoObject",
        "PressRelease",
        "AdvertiserContentArticle",
        "SiteNavigationElement",
        "ListItem",
        "PropertyValue",
        "SearchAction",
        "Blog",
    ]
)
_PARTS = frozenset(
    [
        "BreadcrumbList",
        "WebSite",
        "ImageObject",
        "VideoObject",
        "SiteNavigationElement",
        "SearchAction",
        "Comment",
        "Answer",
    ]
)
_NOT_ROWS = frozenset(
    [
        "name",
        "headline",
        "url",
        "sameAs",
        "image",
        "logo",
        "description",
        "mainEntityOfPage",
        "mainEntity",
        "about",
        "publisher",
        "thumbnailUrl",
        "subjectOf",
        "datePublished",
        "dateModified",
        "dateCreated",
        "license",
        "inLanguage",
        "additionalType",
        "potentialAction",
        "hasPart",
        "isPartOf",
        "itemListElement",
        "breadcrumb",
        "identifier",
        "disambiguatingDescription",
        "photo",
        "keywords",
        "articleBody",
        "text",
        "reviewBody",
    ]
)
_GENERIC_TYPES = frozenset({"Thing", "Intangible", "StructuredValue", "Role"})
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MAX_NODES = 2_000
_MAX_VALUE_CHARS = 300

Node = dict[str, Any]


@dataclass(slots=True)
class JsonLd:
    """`document` is the node that describes the page, `entity` the one that describes its subject."""

    document: Node = field(default_factory=dict)
    entity: Node = field(default_factory=dict)
    others: list[Node] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)


def read_json_ld(tree: LexborHTMLParser) -> JsonLd:
    """Parse every block of the page; a block that is not JSON says nothing."""
    nodes: list[Node] = []
    for script in tree.css('script[type="application/ld+json"]'):
        try:
            nodes += _nodes(orjson.loads(script.text(deep=True)))
        except orjson.JSONDecodeError:
            continue
    found = JsonLd()
    documents = [node for node in nodes if types_of(node) & DOCUMENT_TYPES]
    entities = [node for node in nodes if types_of(node) - DOCUMENT_TYPES]
    found.document = next((node for node in documents if not types_of(node) & _PARTS), {})
    found.items = list(_list_items(found.document))  # lists of other nodes are carousels and breadcrumbs
    subject = _first_node(found.document.get("mainEntity"), found.document.get("about"), _reviewed(documents))
    if subject and types_of(subject) & DOCUMENT_TYPES:
        subject = {}
    address = address_of(subject)
    same = [node for node in entities if address and address_of(node) == address]
    if same:
        subject = {**subject, **same[0]}
    elif not subject and entities:
        subject, entities = entities[0], entities[1:]
    found.entity = subject
    found.others = [node for node in entities if node not in same and _is_named(node) and len(node) > 3]
    return found


def _nodes(value: Any, budget: int = _MAX_NODES) -> Iterator[Node]:
    """Top-level nodes, those of lists and of `@graph`, in order."""
    queue = [value]
    while queue and budget:
        current = queue.pop(0)
        budget -= 1
        if isinstance(current, list):
            queue = current + queue
        elif isinstance(current, dict):
            if "@graph" in current:
                queue = [current["@graph"], *queue]
            else:
                yield current


def types_of(node: Node) -> set[str]:
    raw = node.get("@type")
    return {str(t).rsplit("/", 1)[-1] for t in (raw if isinstance(raw, list) else [raw]) if t}


def _first_node(*values: Any) -> Node:
    for value in values:
        for candidate in value if isinstance(value, list) else [value]:
            if isinstance(candidate, dict):
                return candidate
            if isinstance(candidate, str) and candidate.startswith("http"):
                return {"@id": candidate}
    return {}


def _reviewed(documents: list[Node]) -> Any:
    return next((node["itemReviewed"] for node in documents if "itemReviewed" in node), None)


def _list_items(node: Node) -> Iterator[Node]:
    holder = node if "itemListElement" in node else node.get("mainEntity")
    if not isinstance(holder, dict) or "BreadcrumbList" in types_of(holder):
        return
    elements = holder.get("itemListElement")
    for element in elements if isinstance(elements, list) else []:
        item = element.get("item", element) if isinstance(element, dict) else None
        if isinstance(item, str):
            item = {"@id": item, "name": element.get("name")}
        if isinstance(item, dict) and _is_named(item):
            yield item


def _is_named(node: Node) -> bool:
    return isinstance(node.get("name"), str) and bool(node["name"].strip())


def address_of(node: Node) -> str | None:
    """The entity's address: `@id`, else `url`, else the first `sameAs`, if it is on the web."""
    for key in ("@id", "url", "sameAs"):
        value = node.get(key)
        for candidate in value if isinstance(value, list) else [value]:
            if isinstance(candidate, str) and candidate.startswith(("http://", "https://")):
                return clean_url(candidate)
    return None


def type_word(node: Node) -> str | None:
    """The word for the entity's kind: `additionalType` (its last part if an address), else `@type`."""
    extra = node.get("additionalType")
    for candidate in extra if isinstance(extra, list) else [extra]:
        if isinstance(candidate, str) and candidate.strip():
            return re.split(r"[/#:]", candidate.strip().rstrip("/"))[-1] or None
    raw = node.get("@type")
    for candidate in raw if isinstance(raw, list) else [raw]:
        word = str(candidate).rsplit("/", 1)[-1] if candidate else ""
        if word and word not in _GENERIC_TYPES and word not in DOCUMENT_TYPES:
            return word
    return None


def json_ld_lines(found: JsonLd, base: str) -> list[Line]:
    """Rows of the page's entity, then records of the other entities and of list items."""
    lines: list[Line] = []
    for label, value in _properties(found.entity, base):
        row = make_row(label, value)
        if row:
            lines.append(row)
    for node in (*found.others, *found.items):
        rows = (make_row(label, value) for label, value in _properties(node, base))
        cells = tuple((row.label, row.value) for row in rows if row)
        if cells or node in found.items:  # a name alone says something only in a list
            lines.append(Record(_named(node, base), cells))
    return lines


def _properties(node: Node, base: str) -> Iterator[tuple[str, LinkedText]]:
    for key, raw in node.items():
        if key == "additionalProperty":
            for item in raw if isinstance(raw, list) else [raw]:
                if isinstance(item, dict) and isinstance(item.get("name"), str):
                    yield item["name"], _value({k: v for k, v in item.items() if k not in {"name", "@type"}}, base)
        elif not key.startswith("@") and key not in _NOT_ROWS:
            values = [_value(item, base) for item in (raw if isinstance(raw, list) else [raw])]
            words = _CAMEL.sub(" ", key).split()
            yield (
                " ".join([words[0].capitalize(), *(w.lower() for w in words[1:])]),
                join_values([value for value in values if value]),
            )


def _value(raw: Any, base: str) -> LinkedText:
    if isinstance(raw, bool):
        return LinkedText("yes" if raw else "no")
    if isinstance(raw, str | int | float):
        text = " ".join(str(raw).split())
        return LinkedText(text if len(text) <= _MAX_VALUE_CHARS else "")
    if not isinstance(raw, dict):
        return LinkedText("")
    if _is_named(raw):
        return _named(raw, base)
    if "value" in raw:
        unit = raw.get("unitText") or raw.get("unitCode") or ""
        inner = raw["value"]
        if isinstance(inner, dict):
            return _value(inner, base)
        words = f"{inner} {unit}".strip() if isinstance(inner, str | int | float) else ""
        address = address_of(raw)
        return LinkedText(words, ((0, len(words), address),) if address and words else ())
    parts = [
        raw[key] for key in ("streetAddress", "addressLocality", "addressCountry") if isinstance(raw.get(key), str)
    ]
    return LinkedText(", ".join(parts))


def _named(node: Node, base: str) -> LinkedText:
    name = " ".join(node["name"].split())
    address = address_of(node) or clean_url(str(node.get("url") or ""), base)
    return LinkedText(name, ((0, len(name), address),) if address and address != clean_url(base) else ())
