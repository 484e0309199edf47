"""What a flow shows while it runs and when it is done: progress, funnel, sample questions, the card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from datagen.pipeline.finishing import RunReport
from datagen.runs.settlement import Settlement
from datagen.runs.workers import ShardReport

CARD_PREVIEW_CHARS = 20_000


class ProgressArtifact:
    """Accepted questions against the target, updated with every shard; exact again after each wave.

    Where models are paid, a table says after each wave what was spent and what the whole run is going to cost.
    """

    def __init__(self, spent: Callable[[], float | None] = lambda: None) -> None:
        """`spent` says how many dollars were paid so far; None where nobody is paid or a price is unknown."""
        self._spent = spent
        self._artifact: UUID | None = None
        self._target = 1
        self._accepted = 0

    def standing(self, settlement: Settlement) -> None:
        self._target = max(1, sum(settlement.target.values()))
        self._accepted = sum(settlement.accepted.values())
        if self._artifact is None:
            artifact = create_progress_artifact(
                progress=self._share(), key="accepted", description=f"Accepted questions of {self._target:,}"
            )
            self._artifact = artifact if isinstance(artifact, UUID) else None
        self._update()
        spent = self._spent()
        if spent is not None and self._accepted:
            projected = spent / self._accepted * max(self._accepted, self._target)
            row = {"accepted": self._accepted, "spent USD": round(spent, 4), "projected USD": round(projected, 4)}
            create_table_artifact(table=[row], key="spend", description="Money so far, and at the target")

    def shard_finished(self, report: ShardReport) -> None:
        self._accepted += report.accepted
        self._update()

    def _share(self) -> float:
        return min(100.0, 100.0 * self._accepted / self._target)

    def _update(self) -> None:
        if self._artifact is not None:
            update_progress_artifact(self._artifact, progress=self._share())


def publish_report(report: RunReport) -> None:
    """The funnel as a table, some questions as markdown."""
    rows = [
        {
            "recipe": step.recipe,
            "gate": step.gate,
            "entered": step.entered,
            "stopped": step.stopped,
            "reasons": ", ".join(f"{reason} {count}" for reason, count in step.reasons.items()),
        }
        for step in report.funnel
    ]
    create_table_artifact(table=rows, key="funnel", description=f"Candidates of {report.directory}, gate by gate")
    lines = [f"# Some of {sum(report.accepted.values()):,} accepted questions", ""]
    for row in report.samples:
        lines += [f"**{row['question']}**", "", f"{row['answer']} · {row['recipe']} · `{row['id']}`", ""]
    create_markdown_artifact(markdown="\n".join(lines), key="sample-questions")


def publish_card(release: Path) -> None:
    """The card as readers will see it, without its YAML header."""
    card = (release / "README.md").read_text(encoding="utf-8")
    body = card.split("\n---\n", 1)[-1]
    create_markdown_artifact(markdown=body[:CARD_PREVIEW_CHARS], key="card", description=str(release))
