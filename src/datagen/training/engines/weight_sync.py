"""How servers get new weights. Everything that is particular to vLLM's protocols is in this file.

    AdapterSync     a LoRA adapter under a new name per version: POST /v1/load_lora_adapter. Nothing is paused, requests
                    under way end with the adapter they began with, and kept keys and values are never those of other
                    weights, for vLLM finds them by the adapter's name. (VLLM_ALLOW_RUNTIME_LORA_UPDATING=True)
    TransferSync    all weights through a transport (NCCL, files), in the phases below. (VLLM_SERVER_DEV_MODE=1 and
                    --weight-transfer-config '{"backend": "nccl"}')
    ReloadSync      all weights from a checkpoint folder: POST /collective_rpc reload_weights. (VLLM_SERVER_DEV_MODE=1)

The phases of the last two, of which `load` differs; for TransferSync it is three routes, or one on older servers:

    pause (keep)  ->  load                                                        ->  reset cache  ->  resume
                      [init once]  start_weight_update  update_weights...  finish_weight_update

A failure before any weight was written resumes the servers, which go on with the old version. After that, servers hold a
mix of two versions: they stay paused, `serving` raises, and the error says so; publishing again repairs them.
`serving` changes only when all servers have the new weights, so a completion is never said to be newer than it is.

Routes and bodies are those of vLLM's sources. What was run is the practice server, which speaks them, with files as the
transport; vLLM itself needs a GPU, and NCCL two.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from typing import Literal as OneOf

from datagen.errors import ConnectionLostError, DatagenError, EngineError, InvalidRequestError
from datagen.training.engines.adapters import AdapterFolder
from datagen.training.engines.server_lines import ServerLines
from datagen.training.engines.server_wire import MissingModelError, Serving
from datagen.training.engines.sync_base import NamedWeights
from datagen.training.engines.transports import WeightTransport

log = logging.getLogger("datagen.training")
SHORT_SECONDS = 60.0
"""For commands that move no weights."""
RESUME_TRIES = 3
RESUME_SECONDS = 0.2
Phases = OneOf["auto", "four_phase", "two_phase"]


class AdapterSync:
    """LoRA adapters under versioned names, through a folder that trainer and servers share."""

    def __init__(
        self, lines: ServerLines, base_model: str, folder: AdapterFolder, *, load_seconds: float = 300.0
    ) -> None:
        """Until the first publication, requests go to `base_model`."""
        self._lines = lines
        self._folder = folder
        self._load_seconds = load_seconds
        self._base_model = base_model
        self._serving = Serving(0, base_model)
        self._loaded: list[str] = []

    @property
    def version(self) -> int:
        return self._serving.version

    @property
    def serving(self) -> Serving:
        return self._serving

    async def publish(self, version: int, weights: NamedWeights | Path) -> None:
        """`weights`: the folder that peft's `save_pretrained` wrote, or the tensors of `get_peft_model_state_dict`."""
        path = await asyncio.to_thread(self._folder.place, version, weights)
        name = path.name
        outcomes = await _everywhere(self._lines.urls, lambda url: self._load(url, name, path))
        away = [url for url, fault in outcomes.items() if isinstance(fault, ConnectionLostError)]
        if away and len(away) < len(outcomes):
            log.warning("%s gets the adapter %s when it is back", ", ".join(away), name)  # it asks for it by its name
            outcomes = {url: fault for url, fault in outcomes.items() if url not in away}
        if faults := _faults(outcomes):
            raise EngineError(
                f"the adapter {name} could not be loaded everywhere: {faults}. All servers go on with version "
                f"{self.version}. vLLM needs --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and has to see {path}."
            )
        self._serving = Serving(version, name)
        self._loaded = [*(other for other in self._loaded if other != name), name]
        await self._forget_old()

    async def holds(self, url: str) -> bool | None:
        return self._serving.model == self._base_model or await self._knows(url, self._serving.model)

    async def restore(self, url: str) -> bool:
        await self._load(url, self._serving.model, self._folder.path(self._serving.model))
        return True

    async def _load(self, url: str, name: str, path: Path) -> None:
        """A name stands for one version for ever, so one that the server has already is the right one."""
        if await self._knows(url, name):
            return
        body = {"lora_name": name, "lora_path": str(path)}
        await self._lines.command(url, "/v1/load_lora_adapter", body, seconds=self._load_seconds)

    async def _knows(self, url: str, name: str) -> bool:
        listed = await self._lines.get(url, "/v1/models", seconds=SHORT_SECONDS)
        return name in {model.get("id") for model in listed.get("data", ())}

    async def _forget_old(self) -> None:
        """Requests that wait for another try name the version before; older ones nobody names any more."""
        while len(self._loaded) > self._folder.keep:
            name = self._loaded.pop(0)
            outcomes = await _everywhere(self._lines.urls, partial(self._unload, name))
            if faults := _faults(outcomes):
                log.warning("the adapter %s stays where it is: %s", name, faults)
        await asyncio.to_thread(self._folder.prune, self._loaded)

    async def _unload(self, name: str, url: str) -> None:
        try:
            body = {"lora_name": name}
            await self._lines.command(url, "/v1/unload_lora_adapter", body, seconds=SHORT_SECONDS)
        except MissingModelError:
            pass  # it was started again since


class _PausedSync:
    """All weights, while generation stands still."""

    def __init__(self, lines: ServerLines, model: str) -> None:
        self._lines = lines
        self._model = model
        self._serving = Serving(0, model)
        self._mixed = ""
        """What servers hold a mix of; empty while they hold one version."""
        self._writing = False
        self._coming: int | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def version(self) -> int:
        return self._serving.version

    @property
    def serving(self) -> Serving:
        if self._mixed:
            raise EngineError(self._mixed)
        return self._serving

    async def publish(self, version: int, weights: NamedWeights | Path) -> None:
        async with self._one_at_a_time:
            self._coming = version
            try:
                await self._publish(version, weights)
            finally:
                self._coming = None

    async def _publish(self, version: int, weights: NamedWeights | Path) -> None:
        phase = "pause"
        self._writing = False
        try:
            await self._all(lambda url: self._command(url, "/pause", query={"mode": "keep"}))
            phase = "load"
            await self._load(version, weights)
            phase = "reset of the prefix cache"
            await self._all(self._forget_prefixes)
        except BaseException as exc:
            state = await asyncio.shield(self._after_failure(version))
            if not isinstance(exc, Exception):
                raise
            told = str(exc).rstrip(".") or type(exc).__name__
            raise EngineError(f"weights of version {version} did not arrive ({phase}): {told}. {state}") from exc
        # The salt keeps new requests from finding what old weights left, also on servers that cannot reset their cache.
        self._serving, self._mixed = Serving(version, self._model, f"v{version}"), ""
        if told := await self._resume():
            raise EngineError(f"weights of version {version} arrived, but {told}")

    async def holds(self, url: str) -> bool | None:
        """Newer servers tell the version that they were given."""
        if self.version == 0:
            return True
        try:
            told = await self._lines.get(url, "/weight_info", seconds=SHORT_SECONDS)
        except InvalidRequestError:
            return None
        # While weights come in, a server may be ahead of the others.
        return told.get("weight_version") in {str(self.version), str(self._coming)}

    async def restore(self, url: str) -> bool:  # noqa: ARG002  the protocol's signature
        """What was sent is not kept, so the server has to wait for the next publication."""
        return False

    async def _load(self, version: int, weights: NamedWeights | Path) -> None:
        raise NotImplementedError

    async def _after_failure(self, version: int) -> str:
        """Leave servers in a state that can be told in a sentence."""
        if self._writing or self._mixed:
            self._mixed = (
                f"Servers hold a mix of version {self.version} and version {version} and stay paused; publish again, or start "
                "them again."
            )
            return self._mixed
        told = await self._resume()
        return f"But {told}" if told else f"Servers were resumed and go on with version {self.version}."

    async def _forget_prefixes(self, url: str) -> None:
        """Those of frozen requests too: their keys and values are the old weights'."""
        await self._command(url, "/reset_prefix_cache", query={"reset_running_requests": "true"})

    async def _resume(self) -> str:
        """Empty, or which servers are still paused."""
        left: Sequence[str] = self._lines.urls
        for number in range(RESUME_TRIES):
            await asyncio.sleep(RESUME_SECONDS * number)
            outcomes = await _everywhere(left, lambda url: self._command(url, "/resume"))
            left = [url for url, fault in outcomes.items() if fault is not None]
            if not left:
                return ""
        return f"{', '.join(left)} may still be paused: POST /resume to it, or start it again."

    async def _command(
        self,
        url: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        seconds: float = SHORT_SECONDS,
    ) -> None:
        await self._lines.command(url, path, body or {}, query=query, seconds=seconds)

    async def _all(self, act: Callable[[str], Awaitable[None]]) -> None:
        if faults := _faults(await _everywhere(self._lines.urls, act)):
            raise EngineError(faults)


class TransferSync(_PausedSync):
    """All weights through a transport. The routes of vLLM changed, so which ones a server has is looked up.

    two_phase     init_weight_transfer_engine, update_weights
    four_phase    init_..., start_weight_update, update_weights, finish_weight_update
    """

    def __init__(
        self,
        lines: ServerLines,
        model: str,
        transport: WeightTransport,
        *,
        phases: Phases = "auto",
        load_seconds: float = 600.0,
    ) -> None:
        super().__init__(lines, model)
        self._transport = transport
        self._phases = phases
        self._load_seconds = load_seconds
        self._ready: set[str] = set()
        """Servers that have been told of the transport."""

    async def restore(self, url: str) -> bool:
        self._ready.discard(url)
        return await super().restore(url)

    async def _load(self, version: int, weights: NamedWeights | Path) -> None:
        """`weights`: tensors under the names of the Hugging Face checkpoint."""
        if isinstance(weights, Path):
            raise EngineError(f"a transfer takes tensors, not the folder {weights}; a ReloadSync takes folders")
        await self.introduce()
        four = self._phases == "four_phase"
        if four:
            # Newer servers take no body here; those of the first release with this route want the format named.
            await self._all(lambda url: self._command(url, "/start_weight_update", {"is_checkpoint_format": True}))
        self._writing = True
        for piece in self._transport.pieces(version, weights):
            body = {"update_info": dict(piece.update_info)}
            command = self._all(partial(self._slow, "/update_weights", body))
            # A collective transport: servers wait in this call for what the trainer sends meanwhile.
            await asyncio.gather(command, asyncio.to_thread(piece.send))
        if four:
            await self._all(partial(self._slow, "/finish_weight_update", {"weight_version": str(version)}))

    async def _look_up(self) -> Phases:
        """The phases that all servers know."""
        found: set[Phases] = set()
        for url in self._lines.urls:
            paths = (await self._lines.get(url, "/openapi.json", seconds=SHORT_SECONDS)).get("paths", {})
            if "/update_weights" not in paths:
                raise EngineError(
                    f"{url} has no route for weights: start it with VLLM_SERVER_DEV_MODE=1 and --weight-transfer-config, or set "
                    'training.engine.sync = "reload"'
                )
            found.add("four_phase" if "/start_weight_update" in paths else "two_phase")
        if len(found) > 1:
            raise EngineError("servers of different vLLM versions take weights in different phases; run one version")
        return found.pop()

    async def introduce(self) -> None:
        """Tell servers of the transport that do not know it yet; a collective one connects to all of them at once.

        `publish` does so as well. Raises `EngineError` for a server that takes no weights, or none in this way.
        """
        if self._phases == "auto":
            self._phases = await self._look_up()
        new = [url for url in self._lines.urls if url not in self._ready]
        if not new:
            return
        sizes = {url: await self._world_size(url) for url in self._lines.urls}
        infos = self._transport.introductions(sizes)
        both = _everywhere(
            infos, lambda url: self._slow("/init_weight_transfer_engine", {"init_info": infos[url]}, url)
        )
        outcomes, _ = await asyncio.gather(both, asyncio.to_thread(self._transport.connect))
        if faults := _faults(outcomes):
            raise EngineError(faults)
        self._ready = set(self._lines.urls)

    async def _world_size(self, url: str) -> int:
        return int((await self._lines.get(url, "/get_world_size", seconds=SHORT_SECONDS))["world_size"])

    async def _slow(self, path: str, body: Mapping[str, Any], url: str) -> None:
        await self._command(url, path, body, seconds=self._load_seconds)


class ReloadSync(_PausedSync):
    """All weights from a checkpoint folder that trainer and servers share: slow, and works with every transport."""

    def __init__(self, lines: ServerLines, model: str, *, load_seconds: float = 900.0) -> None:
        super().__init__(lines, model)
        self._load_seconds = load_seconds
        self._folder: Path | None = None

    async def _load(self, version: int, weights: NamedWeights | Path) -> None:
        """`weights`: a folder that `save_pretrained` wrote."""
        if not isinstance(weights, Path):
            raise EngineError("a reload takes the folder of a checkpoint, not tensors; a TransferSync takes tensors")
        self._writing = True
        await self._all(lambda url: self._reload(url, weights, version))
        self._folder = weights

    async def restore(self, url: str) -> bool:
        """The folder is still there, so the server reads it again."""
        async with self._one_at_a_time:
            if self._folder is None or not self._folder.is_dir():
                return False
            await self._reload(url, self._folder, self.version)
            await self._forget_prefixes(url)
            return True

    async def _reload(self, url: str, folder: Path, version: int) -> None:
        body = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
        await self._command(url, "/collective_rpc", body, seconds=self._load_seconds)
        with suppress(InvalidRequestError):  # an older server
            await self._command(url, "/update_weight_version", {"new_version": str(version)})


async def _everywhere(
    urls: Sequence[str] | Mapping[str, Any], act: Callable[[str], Awaitable[None]]
) -> dict[str, Exception | None]:
    """What became of `act` at each server: None, or its fault. All are waited for."""

    async def one(url: str) -> Exception | None:
        try:
            await act(url)
        except DatagenError as exc:
            return exc
        return None

    return dict(zip(urls, await asyncio.gather(*map(one, urls)), strict=True))


def _faults(outcomes: Mapping[str, Exception | None]) -> str:
    return "; ".join(str(fault).rstrip(".") for fault in outcomes.values() if fault is not None)
