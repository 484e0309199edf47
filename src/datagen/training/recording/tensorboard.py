"""The same curves for TensorBoard, where tensorboardX is installed: one run per phase, one tag per metric.

Events are written where they come up: `SummaryWriter` hands them to a queue and a thread, which cost 4 ms for the 45 figures of
an update, and say nothing about what is in the file at a checkpoint. Here an update is one event.

An event file cannot be cut. A resume begins another one whose first event tells TensorBoard to hide what came after the
checkpoint; since that holds for a whole run of TensorBoard, every phase, which counts its own updates, is one.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

FLUSH_S = 10.0
"""Seconds after which events are in the file, for who looks on."""


class EventWriter:
    """Event files below one folder; without tensorboardX it says so once and does nothing."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._writers: dict[str, Any] = {}
        self._purge: dict[str, int] = {}
        self._flushed = time.monotonic()
        try:
            import tensorboardX.event_file_writer as _  # noqa: F401
        except ImportError:
            self._works = False
            say(
                "tensorboardX is not installed, so there are no TensorBoard events; metrics.jsonl has every figure. "
                'For both: pip install "datagen[train]".'
            )
        else:
            self._works = True

    def write(self, phase: str, step: int, values: Mapping[str, float | None]) -> None:
        """Add one point per finite value."""
        if not self._works:
            return
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        points = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in values.items()
            if value is not None and math.isfinite(value)
        ]
        with self._spared():
            self._writer(phase).write_event(Event(wall_time=time.time(), step=step, summary=Summary(value=points)))
        if time.monotonic() - self._flushed > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Before a checkpoint: what is older than it is never written again."""
        self._flushed = time.monotonic()
        with self._spared():
            for writer in self._writers.values():
                writer.flush()

    def rewind(self, steps: Mapping[str, int]) -> None:
        """Hide what comes after these steps, by phase."""
        self.close()
        self._purge = {phase: step + 1 for phase, step in steps.items()}
        with self._spared():
            for phase in steps:
                if self._works and (self._folder / phase).is_dir():
                    self._writer(phase)

    def close(self) -> None:
        with self._spared():
            for writer in self._writers.values():
                writer.close()
        self._writers.clear()

    @contextlib.contextmanager
    def _spared(self) -> Iterator[None]:
        """These curves stand in metrics.jsonl too: that they cannot be written ends no training."""
        try:
            yield
        except OSError as exc:
            self._works = False
            self._say(f"TensorBoard events end here, for they cannot be written: {exc}. metrics.jsonl goes on.")

    def _writer(self, phase: str) -> Any:
        if phase not in self._writers:
            self._writers[phase] = self._opened(phase)
        return self._writers[phase]

    def _opened(self, phase: str) -> Any:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder = self._folder / phase
        folder.mkdir(parents=True, exist_ok=True)
        # Names hold the second in which a file was begun; the number tells apart those of one second.
        writer = EventsWriter(str(folder / "events"), f".{len(list(folder.glob('events.*'))):04d}")
        purge = self._purge.pop(phase, None)
        if purge is not None:
            start = SessionLog(status=SessionLog.START)
            writer.write_event(Event(wall_time=time.time(), step=purge, session_log=start))
        return writer
