"""Where a run searches: a frozen snapshot with its facts, or the live web, of which everything seen is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datagen.knowledge.graph import FactGraph
from datagen.pipeline.corpus import catalogue_for_live, graph_folder
from datagen.pipeline.living import open_live_web
from datagen.runs.directory import Run
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb
from datagen.web.tools import Web


@dataclass(frozen=True, slots=True)
class Place:
    """The two tools, and what is known of the pages behind them. `snapshot` is None on the live web."""

    web: Web
    graph: FactGraph
    snapshot: Snapshot | None


def open_place(run: Run, *, offline: bool = False) -> Place:
    """`offline` matters on the live web only: it is read from what the run has seen."""
    config = run.config
    if config.web.live is not None:
        # Nothing was read beforehand, so there are no facts to join claims with, and no proof is claimed.
        graph = FactGraph.build(catalogue_for_live(config.knowledge), (), (), ())
        return Place(open_live_web(run, offline=offline), graph, None)
    snapshot = Snapshot.open(Path(config.web.snapshot))
    return Place(SnapshotWeb(snapshot), FactGraph.load(graph_folder(snapshot, config.knowledge)), snapshot)
