"""What a saved state says, and why one is refused.

A state is a small JSON object. It names the data and the settings it was taken under, because a position means nothing
in other data or in another order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datagen.errors import StreamStateError

STATE_VERSION = 2
IDENTITY = ("version", "data", "settings")


def refuse_other(state: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    """Raise `StreamStateError` where a state is none, or belongs to another stream, naming what differs."""
    missing = [name for name in mine if not isinstance(state, Mapping) or name not in state]
    if missing:
        raise StreamStateError(
            f"this is no state of a stream: {', '.join(missing)} missing. Hand in what `state_dict()` returned, unchanged."
        )
    told = [line for name in IDENTITY for line in _differences(name, state[name], mine[name])]
    if told:
        raise StreamStateError(
            f"this state belongs to another stream: {', '.join(told)}. Open the stream with what it was saved with; rows "
            "that were added since make other data, and an epoch of them begins anew."
        )
    for name in ("epoch", "position"):
        if not isinstance(state[name], int) or isinstance(state[name], bool) or state[name] < 0:
            raise StreamStateError(f"the {name} of this state is {state[name]!r}, which is no count; it was changed.")


def refuse_behind(position: int, total: int) -> None:
    """Raise `StreamStateError` for a position that the epoch does not have."""
    if position > total:
        raise StreamStateError(f"this state stands at row {position:,} of an epoch of {total:,} rows; it was changed.")


def _differences(name: str, saved: Any, here: Any) -> list[str]:
    if saved == here:
        return []
    if not (isinstance(saved, Mapping) and isinstance(here, Mapping)):
        return [f"{name} (saved {saved!r}, here {here!r})"]
    return [
        f"{name}: {part} (saved {saved.get(part)!r}, here {here.get(part)!r})"
        for part in sorted({*saved, *here})
        if saved.get(part) != here.get(part)
    ]
