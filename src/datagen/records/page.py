"""A page of a frozen corpus: readable text, and links placed in that text.

`text` is what people and solvers see, and what every evidence span points into. It has three layers, in this order:
prose (what the extractor kept), then one line for each structured fact found in the markup:

    Founded: 1901                                     a row about the page's own subject
    Harlan Rovers | Founded: 1901 | Ground: Hill End  a row about the entity named first

Offsets are in characters of `text` (Python string indices), never bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCE_KINDS = (
    "encyclopedia",
    "official",
    "registry",
    "news",
    "list",
    "table",
    "profile",
    "review",
    "reference",
    "blog",
    "forum",
    "mirror",
    "other",
)
"""What sort of publication a page is; `web.markup` detects it from og:type, JSON-LD and the page's own labels."""

LOW_TRUST_KINDS = frozenset({"blog", "forum", "mirror"})
"""Kinds whose statements make a value possible but neither prove nor exclude anything."""


@dataclass(frozen=True, slots=True)
class Link:
    """`text[start:end] == anchor`, pointing at the absolute address `url`."""

    start: int
    end: int
    url: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a snapshot. `id` is a content id over (url, sha256, extractor version)."""

    id: str
    url: str
    host: str
    source_kind: str
    title: str
    text: str
    links: tuple[Link, ...] = ()
    published_at: str | None = None
    """ISO date (YYYY-MM-DD) that the page states for itself: published, else updated."""
    about_url: str | None = None
    """The entity the page is about, as an address (JSON-LD `about`/`mainEntity`, canonical link); None if unsaid."""
    entity_type: str | None = None
    """Catalogue type id of that entity where the markup says it (JSON-LD @type, infobox kind, URL folder)."""
    sha256: str = ""
    """SHA-256 of the raw payload the page was extracted from."""
    licence: str | None = None
    language: str | None = None
