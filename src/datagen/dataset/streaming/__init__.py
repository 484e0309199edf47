"""Rows for training jobs: shuffled, shared out among ranks, and resumable to the row in the middle of an epoch.

rows = stream("out/demo/release", table="trajectories", split="train", seed=7, rank=0, world_size=4)
for row in rows: ...                      one epoch; the next `for` is the next one
state = rows.state_dict()                 a few hundred bytes of JSON
rows.load_state_dict(state)               exactly the rows that were left, on any number of ranks
"""

from datagen.dataset.streaming.batches import EpochBatches
from datagen.dataset.streaming.curriculum import Curriculum
from datagen.dataset.streaming.files import RowFiles
from datagen.dataset.streaming.stream import RowStream, stream

__all__ = ["Curriculum", "EpochBatches", "RowFiles", "RowStream", "stream"]
