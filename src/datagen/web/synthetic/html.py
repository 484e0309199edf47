"""HTML around content: one shell per kind of site, JSON-LD, boxes and lists. Markup is what real sites use.

How a page says what it is:

    kind            JSON-LD `@type` (NewsArticle, ProfilePage, Review, BlogPosting, DiscussionForumPosting, CollectionPage,
                    Dataset, AboutPage) or, where schema.org has no type for it, og:site_name ("Lexicora Encyclopedia",
                    "Civica Register", "Terranor Handbook"); a mirror links to another host as canonical
    subject         JSON-LD `mainEntity` (the page of the entity) or `about` (news, posts): `@id` is the entity's address,
                    `additionalType` its type in words
    date            `datePublished` or `dateModified` in JSON-LD, and the same day in words on the page
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

LICENCE = "https://creativecommons.org/licenses/by/4.0/"
_OPENING = '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'


@dataclass(frozen=True, slots=True)
class Document:
    """One page before its shell: `data` is its JSON-LD without context."""

    url: str
    title: str
    site: str
    data: dict[str, Any]
    body: str
    canonical: str | None = None
    og_type: str = "article"
    menu: tuple[str, ...] = ("Home", "Topics", "About", "Contact")

    def render(self) -> bytes:
        data = orjson.dumps({"@context": "https://schema.org", **self.data}).decode().replace("</", "<\\/")
        menu = "".join(f"<li>{item}</li>" for item in self.menu)
        return (
            f"{_OPENING}<title>{self.title} | {self.site}</title>\n"
            f'<link rel="canonical" href="{self.canonical or self.url}">\n'
            f'<meta property="og:type" content="{self.og_type}">\n<meta property="og:title" content="{self.title}">\n'
            f'<meta property="og:site_name" content="{self.site}">\n'
            f'<script type="application/ld+json">{data}</script>\n</head>\n<body>\n'
            f"<header><p>{self.site}</p><nav><ul>{menu}</ul></nav></header>\n<main>\n{self.body}</main>\n"
            f"<footer><p>{self.site}. Text available under a Creative Commons licence.</p></footer>\n</body>\n</html>\n"
        ).encode()


def paragraph(sentences: Iterable[str]) -> str:
    return f"<p>{' '.join(sentences)}</p>\n"


def bullets(items: Iterable[str]) -> str:
    return "<ul>\n" + "".join(f"<li>{item}</li>\n" for item in items) + "</ul>\n"


def box(caption: str, rows: Sequence[tuple[str, str]]) -> str:
    """The table beside an article."""
    if not rows:
        return ""
    lines = "".join(f'<tr><th scope="row">{label}</th><td>{value}</td></tr>\n' for label, value in rows)
    return f'<table class="infobox">\n<tr><th colspan="2">{caption}</th></tr>\n{lines}</table>\n'


def definitions(rows: Sequence[tuple[str, str]]) -> str:
    if not rows:
        return ""
    return "<dl>\n" + "".join(f"<dt>{label}</dt><dd>{value}</dd>\n" for label, value in rows) + "</dl>\n"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{h}</th>" for h in headers)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f"<table>\n<tr>{head}</tr>\n{lines}</table>\n"
