"""What a page says about itself: title, date, kind of publication, licence, language, subject.

Every rule reads a public convention, and the most explicit one wins: JSON-LD, then `<meta>` tags, then what the address
and the shape of the page suggest. The kind of publication is decided by `KIND_BY_TYPE`, `KIND_BY_WORD` and, last, by
shape; what nothing says is `other`.
"""

from __future__ import annotations

import email.utils
import re
from dataclasses import dataclass
from datetime import date, datetime
from urllib.parse import urlsplit

from selectolax.lexbor import LexborHTMLParser

from datagen.records.page import SOURCE_KINDS
from datagen.web.inline import plain
from datagen.web.jsonld import JsonLd, address_of, type_word, types_of
from datagen.web.sources.raw import clean_url, host_of

KIND_BY_TYPE = {
    "NewsArticle": "news",
    "ReportageNewsArticle": "news",
    "AnalysisNewsArticle": "news",
    "BackgroundNewsArticle": "news",
    "PressRelease": "official",
    "AboutPage": "official",
    "GovernmentService": "official",
    "BlogPosting": "blog",
    "LiveBlogPosting": "blog",
    "OpinionNewsArticle": "blog",
    "Blog": "blog",
    "DiscussionForumPosting": "forum",
    "SocialMediaPosting": "forum",
    "QAPage": "forum",
    "Review": "review",
    "CriticReview": "review",
    "UserReview": "review",
    "ProfilePage": "profile",
    "CollectionPage": "list",
    "ItemList": "list",
    "Table": "table",
    "Dataset": "table",
    "GovernmentPermit": "registry",
    "DefinedTerm": "reference",
    "DefinedTermSet": "reference",
    "ScholarlyArticle": "reference",
    "TechArticle": "reference",
}
"""JSON-LD @type of the document -> kind."""

KIND_BY_WORD = {
    "encyclopedia": "encyclopedia",
    "encyclopaedia": "encyclopedia",
    "encyclopedic": "encyclopedia",
    "wiki": "encyclopedia",
    "mediawiki": "encyclopedia",
    "official": "official",
    "government": "official",
    "registry": "registry",
    "register": "registry",
    "gazette": "registry",
    "news": "news",
    "newspaper": "news",
    "herald": "news",
    "courier": "news",
    "tribune": "news",
    "profile": "profile",
    "profiles": "profile",
    "review": "review",
    "reviews": "review",
    "list": "list",
    "lists": "list",
    "index": "list",
    "table": "table",
    "tables": "table",
    "statistics": "table",
    "reference": "reference",
    "handbook": "reference",
    "factbook": "reference",
    "dictionary": "reference",
    "almanac": "reference",
    "blog": "blog",
    "wordpress": "blog",
    "forum": "forum",
    "forums": "forum",
    "phpbb": "forum",
    "discourse": "forum",
    "mirror": "mirror",
}
"""A whole word in the JSON-LD genre, a category or genre meta tag, the generator, the site's name, or the host -> kind."""

_KIND_META = ("dc.type", "dcterms.type", "category", "genre", "page-type", "source-kind", "article:section")
_SITE_META = ("og:site_name", "application-name", "generator")
_DATE_META = (
    "article:published_time",
    "og:published_time",
    "datepublished",
    "date",
    "dc.date",
    "dc.date.issued",
    "dcterms.date",
    "dcterms.created",
    "dcterms.issued",
    "pubdate",
    "publish_date",
    "publication_date",
    "sailthru.date",
    "citation_publication_date",
    "article:modified_time",
    "og:updated_time",
    "last-modified",
    "dcterms.modified",
)
_LICENCE_META = ("dc.rights", "dcterms.license", "dcterms.rights", "rights", "copyright-license")
_ISO_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?!\d)")
_LONG_DATES = ("%d %B %Y", "%B %d, %Y", "%d %b %Y", "%b %d, %Y", "%Y/%m/%d", "%Y%m%d")
_TITLE_TAIL = re.compile(r"\s+(?:[|\u2013\u2014\u00b7\u00bb]|-)\s+[^|\u2013\u2014\u00b7\u00bb]*$")
_LIST_TITLE = re.compile(r"^(?:list of|index of|all|complete list)\b|\b(?:list|index)$", re.IGNORECASE)
_WORDS = re.compile(r"[a-z]+")
_FOLDER = re.compile(r"[a-z][a-z_-]*s")
_FOLDERS_WITHOUT_TYPE = frozenset(
    [
        "news",
        "articles",
        "pages",
        "posts",
        "tags",
        "categories",
        "topics",
        "threads",
        "archives",
        "lists",
        "files",
        "docs",
        "blogs",
        "reviews",
        "stories",
        "events-index",
        "series",
        "tables",
        "forums",
        "discussions",
        "questions",
        "comments",
        "results",
        "stats",
        "statistics",
        "sports",
        "business",
        "press",
        "releases",
        "press-releases",
        "profiles",
        "entries",
        "items",
        "links",
        "products",
    ]
)


@dataclass(frozen=True, slots=True)
class Metadata:
    title: str
    published_at: str | None
    kind: str | None
    """What the page states for itself; None where its site or its shape has to tell."""
    site_kind: str | None
    licence: str | None
    language: str | None
    canonical: str | None
    about_url: str | None
    """Stated in JSON-LD, and so `entity_type`."""
    entity_type: str | None
    is_list: bool
    """Whether title or markup call the page a list."""


def read_metadata(tree: LexborHTMLParser, found: JsonLd, url: str) -> Metadata:
    meta = _meta_tags(tree)
    canonical = _link(tree, "canonical", url)
    title = _title(tree, found, meta)
    kind = _page_kind(found, meta, url, canonical)
    return Metadata(
        title=title,
        published_at=_published(tree, found, meta),
        kind=kind,
        site_kind=_site_kind(meta, url),
        licence=_licence(tree, found, meta, url),
        language=_language(tree, found, meta),
        canonical=canonical,
        about_url=address_of(found.entity),
        entity_type=type_word(found.entity),
        is_list=kind == "list" or bool(found.items) or any(map(_LIST_TITLE.search, (title, _head_title(tree)))),
    )


def _meta_tags(tree: LexborHTMLParser) -> dict[str, str]:
    tags: dict[str, str] = {}
    for node in tree.css("meta[content]"):
        attributes = node.attributes
        name = attributes.get("name") or attributes.get("property") or attributes.get("itemprop")
        content = attributes.get("content")
        if name and content and content.strip():
            tags.setdefault(name.strip().lower(), content.strip())
    return tags


def _link(tree: LexborHTMLParser, rel: str, base: str) -> str | None:
    node = tree.css_first(f'link[rel~="{rel}"][href], a[rel~="{rel}"][href]')
    return clean_url(node.attributes.get("href") or "", base) if node is not None else None


def _title(tree: LexborHTMLParser, found: JsonLd, meta: dict[str, str]) -> str:
    """A lone h1, else what the page tells other sites, else `<title>` without the site's name behind it."""
    headings = tree.css("h1")
    if len(headings) == 1 and (text := plain(headings[0])):
        return text
    for value in (meta.get("og:title"), found.document.get("headline"), found.document.get("name")):
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())
    return _head_title(tree) or (plain(headings[0]) if headings else "")


def _head_title(tree: LexborHTMLParser) -> str:
    node = tree.css_first("head > title") or tree.css_first("title")
    text = plain(node) if node is not None else ""
    return _TITLE_TAIL.sub("", text) or text


def _published(tree: LexborHTMLParser, found: JsonLd, meta: dict[str, str]) -> str | None:
    stated = [found.document.get("datePublished")]
    stated += [meta.get(name) for name in _DATE_META]
    stated += [found.document.get("dateModified"), found.document.get("dateCreated")]
    for value in stated:
        if isinstance(value, str) and (day := iso_date(value)):
            return day
    for node in tree.css("time[datetime]"):
        marked = node.attributes.get("itemprop") in {"datePublished", "dateModified"} or "pubdate" in node.attributes
        if (marked or _in_header(node.parent)) and (day := iso_date(node.attributes.get("datetime") or "")):
            return day
    return None


def _in_header(node: object) -> bool:
    """A date in the article's header is the article's; one in its text is something the text speaks of."""
    for _ in range(3):
        if node is None:
            return False
        if getattr(node, "tag", None) == "header":
            return True
        node = getattr(node, "parent", None)
    return False


def iso_date(text: str) -> str | None:
    """The day in a date as pages, feeds and headers write it; None for anything less exact than a day.

    >>> iso_date("2026-01-04T10:00:00Z"), iso_date("4 January 2026"), iso_date("2026")
    ('2026-01-04', '2026-01-04', None)
    """
    text = text.strip()
    match = _ISO_DATE.match(text)
    try:
        if match:
            return date(*map(int, match.groups())).isoformat()
        if "," in text[:5]:
            return email.utils.parsedate_to_datetime(text).date().isoformat()
    except (ValueError, TypeError):
        return None
    for form in _LONG_DATES:
        try:
            return datetime.strptime(text, form).date().isoformat()  # noqa: DTZ007  a day has no time zone
        except ValueError:
            continue
    return None


def _page_kind(found: JsonLd, meta: dict[str, str], url: str, canonical: str | None) -> str | None:
    """The kind that the page states for itself."""
    for name in ("source-kind", "page-type"):
        if meta.get(name, "").lower() in SOURCE_KINDS:
            return meta[name].lower()
    if canonical and host_of(canonical) != host_of(url):
        return "mirror"
    for type_name in sorted(types_of(found.document)):
        if type_name in KIND_BY_TYPE:
            return KIND_BY_TYPE[type_name]
    if meta.get("og:type") == "profile":
        return "profile"
    genre = found.document.get("genre")
    return _kind_in_words(genre if isinstance(genre, str) else "", *(meta.get(name, "") for name in _KIND_META))


def _site_kind(meta: dict[str, str], url: str) -> str | None:
    """The kind that the site is: by its name, its software, its host."""
    host = host_of(url).replace(".", " ").replace("-", " ")
    kind = _kind_in_words(*(meta.get(name, "") for name in _SITE_META), host)
    if kind is None and meta.get("og:type") == "article" and "article:published_time" in meta:
        return "news"
    return kind


def _kind_in_words(*texts: str) -> str | None:
    for text in texts:
        for word in _WORDS.findall(text.lower()):
            if word in KIND_BY_WORD:
                return KIND_BY_WORD[word]
    return None


def _licence(tree: LexborHTMLParser, found: JsonLd, meta: dict[str, str], url: str) -> str | None:
    stated = found.document.get("license") or found.entity.get("license")
    if isinstance(stated, dict):
        stated = stated.get("url") or stated.get("@id") or stated.get("name")
    if isinstance(stated, str) and stated.strip():
        return stated.strip()
    link = _link(tree, "license", url)
    return link or next((meta[name] for name in _LICENCE_META if name in meta), None)


def _language(tree: LexborHTMLParser, found: JsonLd, meta: dict[str, str]) -> str | None:
    root = tree.root
    stated = (root.attributes.get("lang") if root is not None else None) or found.document.get("inLanguage")
    stated = stated or meta.get("content-language") or meta.get("og:locale")
    if not isinstance(stated, str) or not stated.strip():
        return None
    return re.split(r"[-_]", stated.strip())[0].lower()[:8] or None


def type_from_address(url: str) -> str | None:
    """`/countries/algeria/` -> `country`: a folder named by a plural holds things of that kind.

    >>> type_from_address("https://a.example/countries/algeria/")
    'country'
    """
    parts = [part for part in urlsplit(url).path.split("/") if part]
    if len(parts) < 2:
        return None
    folder = parts[-2].lower()
    if folder in _FOLDERS_WITHOUT_TYPE or not _FOLDER.fullmatch(folder) or folder.endswith("ss"):
        return None
    return singular(folder).replace("-", "_")


def singular(word: str) -> str:
    """The regular English singular, which is all that folder names need.

    >>> [singular(w) for w in ("countries", "churches", "species", "clubs", "houses")]
    ['country', 'church', 'species', 'club', 'house']
    """
    if word in {"species", "series"}:
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word.removesuffix("s")
