"""A file of JSON lines that only grows, and survives the death of whoever writes it.

    journal = Journal(folder / "metrics.jsonl")
    journal.append({"phase": "rl", "step": 1})      in the file when the call returns
    journal.cut(size)                               back to where it was at a checkpoint

A process that is killed while it writes leaves a part of a line; opening the journal takes that part away. A line that is
broken elsewhere was changed by hand, and is refused with its number.

JSON has no word for a number that is none: `nan`, `inf` and `-inf` are written as strings, and `as_number` reads them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from datagen.errors import StorageError
from datagen.storage import write_atomic

Line = dict[str, Any]
NOT_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Journal:
    """Lines of one file, oldest first. One process writes; any number may read."""

    def __init__(self, path: Path) -> None:
        """Opens or creates; repairs a torn last line."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            whole = whole_bytes(path.read_bytes())
            if whole < path.stat().st_size:
                self._truncate(whole)
        except OSError as exc:
            raise self._unwritable(exc) from exc

    @property
    def size(self) -> int:
        """Bytes so far: where `cut` comes back to."""
        return self.path.stat().st_size

    def append(self, line: Mapping[str, Any]) -> None:
        """Write one line. Raises `StorageError` on a full disk, and then leaves none of it."""
        data = encode(line)
        before = self.size
        try:
            with self.path.open("ab") as file:
                file.write(data)
        except OSError as exc:
            self._truncate(before)
            raise self._unwritable(exc) from exc

    def lines(self) -> list[Line]:
        return read_lines(self.path)

    def keep(self, wanted: Callable[[Line], bool]) -> int:
        """Drop all lines that are not wanted, in one step; returns how many."""
        lines = self.lines()
        kept = [line for line in lines if wanted(line)]
        if len(kept) < len(lines):
            write_atomic(self.path, b"".join(map(encode, kept)))
        return len(lines) - len(kept)

    def cut(self, size: int) -> int:
        """Drop what was written after the file had `size` bytes; returns how many bytes it lacks, 0 if none.

        A file that is another than then may have no end of a line there; what is left of the line goes too.
        """
        missing = max(0, size - self.size)
        if size < self.size:
            self._truncate(whole_bytes(self.path.read_bytes()[:size]))
        return missing

    def _truncate(self, size: int) -> None:
        with self.path.open("r+b") as file:
            file.truncate(size)

    def _unwritable(self, exc: OSError) -> StorageError:
        return StorageError(f"{self.path} cannot be written: {exc}. Free space or choose another folder, then resume.")


def encode(line: Mapping[str, Any]) -> bytes:
    """One line with its newline."""
    written = {name: _written(value) for name, value in line.items()}
    return (json.dumps(written, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode()


def read_lines(path: Path) -> list[Line]:
    """All lines of a journal; none where there is no file. A torn last line is left out, and left in the file."""
    if not path.exists():
        return []
    data = path.read_bytes()
    lines: list[Line] = []
    for number, text in enumerate(data[: whole_bytes(data)].splitlines(), start=1):
        try:
            lines.append(json.loads(text))
        except ValueError as exc:
            raise StorageError(
                f"{path}, line {number} is not JSON ({exc}); it was changed by hand. Take the line out, then go on."
            ) from exc
    return lines


def whole_bytes(data: bytes) -> int:
    """Bytes up to the end of the last whole line."""
    end = data.rfind(b"\n") + 1
    last = data.rfind(b"\n", 0, max(end - 1, 0)) + 1
    try:
        json.loads(data[last:end] or b"0")
    except ValueError:  # after a power cut a line may have its length and zeros for its bytes
        return last
    return end


def _written(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def as_number(value: float | str | None) -> float | None:
    """A figure as it was before it was written."""
    return NOT_NUMBERS[value] if isinstance(value, str) else value
