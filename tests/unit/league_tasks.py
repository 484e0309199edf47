"""Three questions about the league of football clubs, as the tasks of an environment, and the environment over its pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.unit.practice_league import league_web, words

from datagen.agents.budget import Budget
from datagen.environment.core import SearchCore
from datagen.environment.episodes import EpisodeTable
from datagen.environment.service import Service, ServiceSettings
from datagen.environment.tasks import TaskBank

KEYS = {
    "club by ground": ("Harlan Rovers", "entity", ("The Rovers",), "https://wiki.example/harlan-rovers"),
    "ground of club": ("Low Park", "entity", (), None),
    "founding": ("1923", "date", (), None),
}
IDS = {name: f"qa1-{i}" for i, name in enumerate(KEYS)}
RIGHT = "Harlan Rovers"


def row(name: str) -> dict[str, object]:
    text, kind, aliases, key = KEYS[name]
    return {
        "id": IDS[name],
        "question": words(name),
        "recipe": "infoseek",
        "answer": text,
        "answer_type": kind,
        "answer_aliases": list(aliases),
        "answer_canonical": text,
        "answer_entity": key,
        "answer_entity_type": "club",
        "answer_unit": "",
    }


def league_bank(train: Sequence[str] = ("club by ground", "ground of club"), test: Sequence[str] = ("founding",)):
    return TaskBank.of_rows({"train": [row(name) for name in train], "test": [row(name) for name in test]})


def league_core() -> SearchCore:
    return SearchCore(league_web())


def league_service(folder: Path, *, searches: int = 40, visits: int = 120, open_to_all: bool = False) -> Service:
    settings = ServiceSettings(Budget(searches, visits), open_to_all)
    return Service(league_core(), EpisodeTable.create(folder / "episodes", 64), league_bank(), settings)
