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
from typing import TYPE_CHECKING, Any, TypeVar

from datagen.config.training import EngineConfig
from datagen.errors import ConfigError
from datagen.training.distributed import World
from datagen.training.engines.base import Engine
from datagen.training.engines.sampler import LocalEngine
from datagen.training.event_loop import LoopThread
from datagen.training.export import export_model, whole_weights
from datagen.training.models import has_adapters, save_model
from datagen.training.policy_folder import TrainedPolicy

if TYPE_CHECKING:
    from datagen.training.engines.server_lines import ServerLines
    from datagen.training.engines.sync_base import NamedWeights, WeightSync

T = TypeVar("T")
Publish = Callable[[int], Coroutine[Any, Any, None]]
AT_ONCE = 64
"""Requests under way at servers, where nobody says how many."""


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
    def of(
        cls,
        section: EngineConfig,
        policy: TrainedPolicy,
        folder: Path,
        world: World | None = None,
        *,
        at_once: int = AT_ONCE,
    ) -> EngineRoom:
        """As the config says. `folder` is where adapters and weights for servers are laid down; `at_once` requests are
        under way at servers.

        Raises `ConfigError` for servers that nothing can be learned from, before anything was learned.
        """
        if section.kind == "server":
            return _server_room(section, policy, folder, world or World(), at_once)

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


def _server_room(section: EngineConfig, policy: TrainedPolicy, folder: Path, world: World, at_once: int) -> EngineRoom:
    """Servers of vLLM, each asked first whether it is fit."""
    from datagen.training.engines.server import ServerEngine
    from datagen.training.engines.server_lines import ServerLines

    _refuse_sync(section, adapters=has_adapters(policy.model) and world.size == 1, ranks=world.size)
    lines = ServerLines(section.urls)
    way = (
        _Transfer(lines, section, policy, folder, world)
        if section.sync == "weights"
        else _Folders(lines, section, policy, folder, world)
    )
    engine = ServerEngine(lines, way.sync, at_once=at_once)
    room = EngineRoom(engine, lay_down=way.lay_down, publish=way.publish, close=engine.close, world=world)

    async def examined() -> None:
        await engine.preflight()
        await way.examine()

    try:
        world.lead(lambda: room.wait(examined()))
    except BaseException:
        room.close()
        raise
    return room


def _refuse_sync(section: EngineConfig, *, adapters: bool, ranks: int) -> None:
    """What does not fit the model."""
    if ranks > 1 and section.sync == "adapter":
        raise ConfigError('several ranks give servers whole weights: set training.engine.sync = "weights" or "reload".')
    if adapters != (section.sync == "adapter"):
        raise ConfigError(
            f'training.engine.sync = "{section.sync}" does not fit: "adapter" is for models with [training.model.lora], '
            '"weights" and "reload" are for those of which all weights are trained.'
        )


class _Folders:
    """A folder per version, which servers read: adapters under versioned names, or whole weights."""

    def __init__(
        self, lines: ServerLines, section: EngineConfig, policy: TrainedPolicy, folder: Path, world: World
    ) -> None:
        from datagen.training.engines.adapters import AdapterFolder
        from datagen.training.engines.weight_sync import AdapterSync, ReloadSync

        self.sync: WeightSync = (
            AdapterSync(lines, section.model, AdapterFolder(folder))
            if section.sync == "adapter"
            else ReloadSync(lines, section.model)
        )
        self._model, self._folder, self._world = policy.model, folder, world

    async def examine(self) -> None:
        """Whether servers see the folder shows when they are told of the first version."""

    def lay_down(self, version: int) -> None:
        if self._world.size > 1:
            export_model(self._place(version), self._model, world=self._world)
        else:
            save_model(self._model, self._place(version))

    async def publish(self, version: int) -> None:
        await self.sync.publish(version, self._place(version))
        await asyncio.to_thread(_keep_only, self._place(version))

    def _place(self, version: int) -> Path:
        return self._folder / f"version-{version:08d}"


class _Transfer:
    """Whole weights through a transport, as files in pieces."""

    def __init__(
        self, lines: ServerLines, section: EngineConfig, policy: TrainedPolicy, folder: Path, world: World
    ) -> None:
        from datagen.training.engines.transports import FileTransport
        from datagen.training.engines.weight_sync import TransferSync

        self.sync = TransferSync(lines, section.model, FileTransport(folder))
        self._model, self._world = policy.model, world
        self._laid: NamedWeights = {}

    async def examine(self) -> None:
        await self.sync.introduce()

    def lay_down(self, version: int) -> None:  # noqa: ARG002  there is one version at a time
        """All ranks put the weights together; the first has them."""
        self._laid = whole_weights(self._model, self._world)

    async def publish(self, version: int) -> None:
        weights, self._laid = self._laid, {}
        await self.sync.publish(version, weights)
