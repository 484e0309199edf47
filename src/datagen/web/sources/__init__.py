"""Where pages come from. `open_source` finds the kind by prefix, suffix or shape of a path:

pages.warc.gz   warc:crawl/file   wiki.zim   folder/   rows.jsonl   rows.parquet   synthetic:seed=7,pages=2000
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from datagen.errors import ConfigError, SourceError
from datagen.web.sources.raw import RawPage, Redirect, SkippedRecord, Source, SourceRecord

if TYPE_CHECKING:
    from datagen.web.synthetic.addresses import Coverage

__all__ = ["SOURCE_KINDS", "RawPage", "Redirect", "SkippedRecord", "Source", "SourceRecord", "open_source"]


def _open_warc(path: Path) -> Source:
    from datagen.web.sources.archive import WarcSource

    return WarcSource(path)


def _open_zim(path: Path) -> Source:
    from datagen.web.sources.archive import ZimSource

    return ZimSource(path)


def _open_html(path: Path) -> Source:
    from datagen.web.sources.files import HtmlFolderSource

    if not path.is_dir():
        raise SourceError(f"{path} is a file, and the source kind html reads a folder; pass the folder that holds it.")
    return HtmlFolderSource(path)


def _open_jsonl(path: Path) -> Source:
    from datagen.web.sources.files import JsonlSource

    return JsonlSource(path)


def _open_parquet(path: Path) -> Source:
    from datagen.web.sources.files import ParquetSource

    return ParquetSource(path)


_OPENERS: dict[str, Callable[[Path], Source]] = {
    "warc": _open_warc,
    "zim": _open_zim,
    "html": _open_html,
    "jsonl": _open_jsonl,
    "parquet": _open_parquet,
}
_SUFFIXES = {
    ".warc.gz": "warc",
    ".warc": "warc",
    ".zim": "zim",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
SOURCE_KINDS = (*_OPENERS, "synthetic")


def open_source(spec: str) -> Source:
    """`KIND:PATH`, a bare path whose kind shows in its name, or `synthetic:seed=N,pages=N`."""
    kind, separator, rest = spec.partition(":")
    if separator and kind == "synthetic":
        return _open_synthetic(rest)
    if separator and kind in _OPENERS:
        path = Path(rest)
    else:
        path = Path(spec)
        if separator and kind.isalpha() and not path.exists():
            raise ConfigError(f"unknown source kind {kind!r} in {spec!r}; known kinds: {', '.join(SOURCE_KINDS)}.")
        kind = _kind_of(path)
    if not path.exists():
        raise SourceError(f"{path} does not exist; list the folder with: ls {path.parent}")
    if not kind:
        raise ConfigError(
            f"cannot tell the source kind of {spec!r} from its name; put one in front, as in warc:{spec}. "
            f"Known kinds: {', '.join(SOURCE_KINDS)}."
        )
    return _OPENERS[kind](path)


def _kind_of(path: Path) -> str:
    for suffix, kind in _SUFFIXES.items():
        if path.name.lower().endswith(suffix):
            return kind
    if path.is_dir():
        return "parquet" if any(path.glob("*.parquet")) else "html"
    return ""


def _open_synthetic(options: str) -> Source:
    values = {"seed": 7, "pages": 2000}
    known = (*values, "articles", "sites")
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key.strip() not in known or not value.strip().isdigit():
            raise ConfigError(
                f"unknown option {option!r} of the synthetic web; write synthetic:seed=7,pages=2000 with whole numbers, "
                "and articles=60,sites=60 for other shares of entities that have an article and a page of their own."
            )
        values[key.strip()] = int(value)
    from datagen.web.synthetic.source import SyntheticSource

    source = SyntheticSource(seed=values["seed"], pages=values["pages"], coverage=_coverage(values))
    return cast("Source", source)


def _coverage(values: Mapping[str, int]) -> Coverage | None:
    """What `articles` and `sites` say in percent; None where neither is said."""
    from datagen.web.synthetic.addresses import Coverage

    shares = values.get("articles"), values.get("sites")
    if shares == (None, None):
        return None
    articles, sites = shares
    if articles is None or sites is None or max(articles, sites) > 100:
        raise ConfigError(
            "articles and sites of a synthetic web are percentages and come together: articles=60,sites=60."
        )
    return Coverage(articles / 100, sites / 100)
