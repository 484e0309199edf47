"""The symbolic cast behind the practice endpoint: every kind of request, answered from its messages.

A request says what it wants by the name of its reply's schema or by the set of its tools; `HANDLERS` names who answers.
Adding a kind: one module with a `Handler`, one line here. Handlers see the messages and a `Background` that knows words
and no facts, so what a mind says is earned from what it was shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from datagen.knowledge.catalogue import Catalogue
from datagen.practice.minds.background import Background, Handler
from datagen.practice.wire import WireReply, WireRequest

HANDLERS: Mapping[str | frozenset[str], Handler] = {}


class SymbolicMind:
    """A `Mind` made of programs; `competence` below 1 is the share of tasks that it does not get wrong."""

    def __init__(self, catalogue: Catalogue, *, competence: float = 1.0, closed_types: tuple[str, ...] = ()) -> None:
        self._background = Background.of(catalogue, accuracy=competence, closed_types=closed_types)

    def answer(self, request: WireRequest) -> WireReply:
        kind = frozenset(request.tool_names) if request.tool_names else request.schema_name
        handler = HANDLERS.get(kind) if kind else None
        if handler is None:
            named = sorted(kind) if isinstance(kind, frozenset) else kind
            raise LookupError(f"nobody here answers requests of the kind {named!r}")
        return handler(self._background, request)
