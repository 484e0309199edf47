"""Attempts in figures, from the tables of a rollout directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from datagen import storage
from datagen.clients.ledger import LedgerTotals
from datagen.dataset.attempts import AttemptFigures, Attempts, PolicyFigures, count_attempts
from datagen.errors import RunDirectoryError
from datagen.pipeline.calling import paid_in
from datagen.pipeline.rolling import finished, read_rollouts_manifest


@dataclass(frozen=True, slots=True)
class RolloutReport:
    """What a rollout directory holds."""

    directory: str
    questions: int
    figures: AttemptFigures
    paid: LedgerTotals | None = None
    """What was really paid, each call once."""

    @property
    def policies(self) -> tuple[PolicyFigures, ...]:
        return self.figures.policies

    @property
    def pairs(self) -> Mapping[str, int]:
        return self.figures.pairs

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"attempts": self.figures.attempts, "verified": self.figures.verified}


def finished_attempts(directory: str) -> Attempts:
    """The tables of a rollout directory; raises `RunDirectoryError` where they are not finished."""
    if finished(directory) is None:
        run = directory.removesuffix("/rollouts")
        raise RunDirectoryError(
            f"{directory} has no finished attempts, and the config wants some in the release: `datagen rollout {run}` makes "
            "them."
        )
    plan = read_rollouts_manifest(directory).fields["plan"]
    return Attempts(
        storage.join(directory, "trajectories.parquet"), storage.join(directory, "preferences.parquet"), plan
    )


def report_rollouts(directory: str) -> RolloutReport:
    """The report of finished attempts."""
    questions = read_rollouts_manifest(directory).fields["questions"]
    figures = count_attempts(finished_attempts(directory), {})
    return RolloutReport(directory=directory, questions=questions, figures=figures, paid=paid_in(directory))
