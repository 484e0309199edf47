"""From accepted and rejected rows to a release that people browse, load, cite and check.

`stream` is what training jobs read a release with; it is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datagen.dataset.streaming import stream

__all__ = ["stream"]


def __getattr__(name: str) -> Any:
    if name == "stream":
        from datagen.dataset.streaming import stream

        return stream
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
