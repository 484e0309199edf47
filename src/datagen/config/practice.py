"""The section on practice: plain certified questions in any number, with demonstrations."""

from __future__ import annotations

from typing import Literal as OneOf

from pydantic import Field

from datagen.config.section import Section, Share


class PracticeConfig(Section):
    """Chains of facts over one web, as `pipeline.practising` makes them."""

    folder: str
    """Where the tables go; a release for whoever reads them."""
    snapshot: str
    """The web; it is built from `sources` where it is not there."""
    sources: tuple[str, ...] = ()
    """Such as "synthetic:seed=101,pages=2000"; several are merged into one web."""
    split: OneOf["train", "validation", "test"] = "train"
    """The split that the rows are of."""
    candidates: int = Field(default=10_000, ge=1)
    """Chains that are tried. Those that cannot be shown or proven are left out, about one of seven."""
    seed: int = 0
    """Of the chains."""
    hops: dict[int, float] = {1: 0.3, 2: 0.7}
    """Links of a chain, with the weight of each length."""
    relations: tuple[str, ...] = ()
    """Relations that links are made of; every one that fits where empty."""
    value_share: Share = 0.35
    """Share of longer chains that end in a date, a number or a word."""
    wordings: OneOf["any", "seen", "unseen"] = "any"
    """Which sentence patterns questions may have: "unseen" ones, a fifth of all, never are "seen" ones."""
    shown_chars: int = Field(default=700, ge=1)
    """A value has to stand within so many characters of its page."""
    elsewhere: Share = 0.0
    """Share of visits in which a demonstration may read another page about the thing than its article, if it states the
    value. What is always shown one host may choose by the host; a tiny policy learned later with a share of 1."""
