"""What an engine needs to know of the weights that servers hold, whatever brings them there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from datagen.training.engines.server_wire import Serving

if TYPE_CHECKING:
    from torch import Tensor

NamedWeights = Mapping[str, "Tensor"]


class WeightSync(Protocol):
    """Brings weights to servers."""

    @property
    def version(self) -> int:
        """Updates that the weights in use have seen."""
        ...

    @property
    def serving(self) -> Serving:
        """What a request has to name now. Raises `EngineError` while servers hold a mix of two versions."""
        ...

    async def publish(self, version: int, weights: NamedWeights | Path) -> None:
        """Give all servers these weights. Raises `EngineError` with the phase that failed and the state servers are in."""
        ...

    async def holds(self, url: str) -> bool | None:
        """Whether a server has the weights of now; None where it cannot tell. Raises `EndpointError`."""
        ...

    async def restore(self, url: str) -> bool:
        """A server does not hold the weights of now, or cannot tell: give it them, if that can be done for it alone.

        Raises `EndpointError` where it does not answer.
        """
        ...
