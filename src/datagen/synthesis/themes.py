"""The theme taxonomy and the seed questions: what a self-play question may be about, and which skeletons it may have.

Both are files of ours in `data/`. A theme has words to search with and belongs to one domain; a candidate samples k of
them uniformly without replacement. A seed question is a model sentence plus a *skeleton*, the shape of its tree with a
hint per relation, so that the same seed works on any catalogue:

    {"id": "seed-017", "text": "Which bridge, opened in the 1930s, crosses the river that ...?",
     "skeleton": {"asks": "entity", "hint": "bridge", "clues": [
         {"shape": "interval", "hint": "opening date"},
         {"shape": "edge", "hint": "crosses", "child": {"hint": "river", "clues": [{"shape": "constant", "hint": "source"}]}}]}}
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from datagen.agents.roles import SeedQuestion, SkeletonClue, SkeletonNode
from datagen.errors import ConfigError

SHAPES = ("constant", "interval", "class", "edge")


@dataclass(frozen=True, slots=True)
class Theme:
    id: str
    domain: str
    name: str
    words: tuple[str, ...]
    """What to type into a search box."""


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Themes in file order."""

    themes: tuple[Theme, ...]

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(t.domain for t in self.themes))

    def sample(self, counts: Sequence[int], rng: random.Random, domains: Sequence[str] = ()) -> tuple[Theme, ...]:
        """Distinct themes of `domains` (of all, where none is named): k is uniform over `counts`, and so are themes."""
        among = [t for t in self.themes if not domains or t.domain in domains]
        count = rng.choice(counts)
        if len(among) < count:
            raise ConfigError(
                f"the domains {', '.join(domains)} have {len(among)} themes, {count} are wanted; "
                f"recipes.duetqa.domains can name any of {', '.join(self.domains)}."
            )
        return tuple(rng.sample(among, count))


def load_taxonomy(path: Path) -> Taxonomy:
    """Read `[[domain]]` tables with `[[domain.theme]]` entries; ids have to be distinct."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(f"theme file {path} cannot be read: {exc}; the shipped one is data/themes.toml.") from exc
    themes = tuple(
        Theme(f"{domain['id']}/{theme['id']}", domain["id"], theme["name"], tuple(theme["words"]))
        for domain in raw.get("domain", ())
        for theme in domain["theme"]
    )
    if len({t.id for t in themes}) != len(themes) or not themes:
        raise ConfigError(
            f"theme file {path} holds no themes or the same id twice; every theme needs an id of its own."
        )
    return Taxonomy(themes)


def load_seed_questions(path: Path) -> tuple[SeedQuestion, ...]:
    """Read the JSONL file of seeds; raises `ConfigError` naming the line that is not one."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as exc:
        raise ConfigError(
            f"seed file {path} cannot be read: {exc}; the shipped one is data/seed_questions.jsonl."
        ) from exc
    seeds = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            seeds.append(_seed(orjson.loads(line)))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as exc:
            raise ConfigError(f"{path}:{number} is not a seed question ({exc!r}); see synthesis/themes.py.") from exc
    return tuple(seeds)


def _seed(row: Mapping[str, Any]) -> SeedQuestion:
    skeleton = row["skeleton"]
    return SeedQuestion(row["id"], row["text"], skeleton["asks"], _skeleton_node(skeleton))


def _skeleton_node(raw: Mapping[str, Any]) -> SkeletonNode:
    return SkeletonNode(raw["hint"], tuple(_skeleton_clue(c) for c in raw["clues"]))


def _skeleton_clue(raw: Mapping[str, Any]) -> SkeletonClue:
    shape = raw["shape"]
    if shape not in SHAPES or (shape == "edge") != ("child" in raw):
        raise ValueError(f"a clue of shape {shape!r} with fields {sorted(raw)}")
    return SkeletonClue(shape, raw["hint"], _skeleton_node(raw["child"]) if shape == "edge" else None)
