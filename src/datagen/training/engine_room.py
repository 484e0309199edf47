"""Who samples for a training, and how it gets new weights.

    room = EngineRoom.of(config.engine, policy, folder)
    groups = room.wait(sample_groups(room.engine, ...))
    room.renew(version=41)                                  after an update

Everything asynchronous of a training runs in the one event loop that belongs to the room.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from datagen.config.training import EngineConfig
from datagen.errors import ConfigError
from datagen.training.distributed import World
from datagen.training.engines.base import Engine
from datagen.training.engines.sampler import LocalEngine
from datagen.training.event_loop import LoopThread
from datagen.training.export import export_model
from datagen.training.models import has_adapters, save_model
from datagen.training.policy_folder import TrainedPolicy

T = TypeVar("T")
Publish = Callable[[int], Coroutine[Any, Any, None]]


class EngineRoom:
    """An engine, its event loop, and the way from the learner's weights to it."""

    def __init__(
        self,
        engine: Engine,
        *,
        lay_down: Callable[[int], None] | None = None,
        publish: Publish | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
        fresh: Callable[[int], Engine] | None = None,
        world: World | None = None,
    ) -> None:
        """`lay_down` puts the weights of a version where servers find them, on all ranks together; `publish` tells servers of
        them, on the first. `fresh` makes an engine that has seen no request, for weights of a version.
        """
        self.engine = engine
        self.world = world or World()
        self._lay_down = lay_down
        self._publish = publish
        self._close = close
        self._fresh = fresh
        self._version: int | None = None
        self._loop = LoopThread()
        self._loop.__enter__()

    @classmethod
    def of(cls, section: EngineConfig, policy: TrainedPolicy, folder: Path, world: World | None = None) -> EngineRoom:
        """As the config says. `folder` is where adapters and weights for servers are laid down."""
        if section.kind == "server":
            return _server_room(section, policy, folder, world or World())

        def fresh(version: int) -> LocalEngine:
            return LocalEngine(policy.model, version=version, max_batch=section.max_batch)

        return cls(fresh(0), fresh=fresh, world=world)  # it samples from the learner's own weights

    def settle(self) -> None:
        """Forget what earlier requests left behind, where sampling is in this process.

        What is kept decides which rows are computed together, and so the last bits of a log-probability: a training that
        goes on from a checkpoint has to begin a batch as the one that was not cut off.
        """
        if self._fresh is not None:
            self.engine = self._fresh(self._version or 0)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end."""
        return self._loop.run(work)

    def call(self, function: Callable[[], T]) -> T:
        """Call something that belongs to the loop."""
        return self._loop.call(function)

    def renew(self, version: int, *, anew: bool = False) -> None:
        """Sample from the learner's weights as they are now: those after `version` updates. All ranks call it.

        The same version twice is the same weights, unless `anew` says that others were loaded.
        """
        if version == self._version and not anew:
            return

        if self._lay_down is not None:
            self._lay_down(version)
        if self._publish is not None:
            published = self._publish
            self.world.lead(lambda: self.wait(published(version)))
        self._version = version
        self.settle()

    def close(self) -> None:
        async def closed() -> None:
            if self._close is not None:
                await self._close()

        self.wait(closed())
        self._loop.__exit__(None, None, None)


def _keep_only(folder: Path) -> None:
    """Remove the versions beside this one."""
    for other in folder.parent.glob("version-*"):
        if other != folder:
            shutil.rmtree(other)


def _server_room(section: EngineConfig, policy: TrainedPolicy, folder: Path, world: World) -> EngineRoom:
    """Servers of vLLM. Adapters travel under versioned names, whole weights as folders that servers read again."""
    from datagen.training.engines.adapters import AdapterFolder
    from datagen.training.engines.server import ServerEngine
    from datagen.training.engines.server_lines import ServerLines
    from datagen.training.engines.sync_base import WeightSync
    from datagen.training.engines.weight_sync import AdapterSync, ReloadSync

    lines = ServerLines(section.urls)
    if world.size > 1 and section.sync == "adapter":
        raise ConfigError('several ranks give servers whole weights: set training.engine.sync = "reload".')
    adapters = has_adapters(policy.model) and world.size == 1
    if adapters != (section.sync == "adapter"):
        raise ConfigError(
            f'training.engine.sync = "{section.sync}" does not fit: adapters are for models with [training.model.lora], '
            '"reload" is for those of which all weights are trained.'
        )
    sync: WeightSync = (
        AdapterSync(lines, section.model, AdapterFolder(folder)) if adapters else ReloadSync(lines, section.model)
    )
    engine = ServerEngine(lines, sync)

    def lay_down(version: int) -> None:
        target = folder / f"version-{version:08d}"
        if world.size > 1:
            export_model(target, policy.model, world=world)
        else:
            save_model(policy.model, target)

    async def publish(version: int) -> None:
        target = folder / f"version-{version:08d}"
        await sync.publish(version, target)
        await asyncio.to_thread(_keep_only, target)

    return EngineRoom(engine, lay_down=lay_down, publish=publish, close=engine.close, world=world)
