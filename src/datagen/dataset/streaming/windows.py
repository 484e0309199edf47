"""Rows of an epoch, window by window: a window is a few row groups that are read together and mixed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa

from datagen.dataset.streaming.files import RowFiles
from datagen.dataset.streaming.order import EpochOrder
from datagen.dataset.streaming.share import Share

WINDOWS_AHEAD = 2
"""Windows that are read and mixed while one is used; each is in memory."""


def read_window(
    files: RowFiles, order: EpochOrder, window: int, share: Share, columns: Sequence[str] | None
) -> pa.Table:
    """A rank's rows of one window, in the order of emission."""
    table = pa.concat_tables([files.read(int(group), columns) for group in order.windows[window]])
    places = order.rows_of(window)[share.places(order.start_of(window))]
    if len(places) == table.num_rows and not order.shuffle and order.copies is None:
        return table
    return table.combine_chunks().take(places)


def windows_ahead(
    files: RowFiles, order: EpochOrder, share: Share, columns: Sequence[str] | None
) -> Iterator[pa.Table]:
    """A rank's share of an epoch; the next windows are read and mixed while one is used."""
    waiting = deque(range(order.window_at(share.first), len(order.windows)) if len(share) else ())
    with ThreadPoolExecutor(WINDOWS_AHEAD, thread_name_prefix="window") as readers:
        made: deque[Future[pa.Table]] = deque()
        try:
            while waiting or made:
                while waiting and len(made) <= WINDOWS_AHEAD:
                    made.append(readers.submit(read_window, files, order, waiting.popleft(), share, columns))
                yield made.popleft().result()
        finally:  # whoever stops in the middle waits for no window
            readers.shutdown(wait=False, cancel_futures=True)
