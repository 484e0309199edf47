"""Sampling from vLLM servers: token ids in, token ids and their log-probabilities out, over HTTP.

    engine = ServerEngine(lines, AdapterSync(lines, "base", AdapterFolder("/shared/adapters")), at_once=128)
    await engine.preflight(prompt)                      # once: refuses a server whose numbers cannot be trained on
    completion = await engine.generate(prompt, Sampling(seed=17), session="q12-3")
    await engine.sync.publish(13, adapter)              # what is sent from now on is answered by version 13

A conversation stays with one server, which has its keys and values. Where that server fails, the next one in an order of
the conversation's own takes over, and the first one gets no requests until a rest is over:

    q12-3    gpu-2  gpu-1  gpu-3        hash of (session, server), highest first
             ^ down: gpu-1 answers

A server that was started again would answer with the weights it was started with. So a server that failed is asked nothing
before it was seen to hold the weights of now, and since a restart may go unnoticed, a reply counts only when the server was
seen to hold them after the newest connection to it was opened (`WeightSync.holds`). Where no server answers for `retry_seconds`, whoever
waits gets an `EngineError`, and later requests try again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from datagen.clients.connecting import SlowError
from datagen.clients.retrying import Patience
from datagen.errors import ConnectionLostError, EndpointError, EngineError, ThrottledError
from datagen.training.engines.base import Completion, Sampling
from datagen.training.engines.server_lines import ServerLines
from datagen.training.engines.server_preflight import check_server
from datagen.training.engines.server_wire import MissingModelError, completion_of, request_body
from datagen.training.engines.sync_base import WeightSync

log = logging.getLogger("datagen.training")
PROBE = (11, 7, 19, 5)
"""Ids that every vocabulary has; any prompt will do."""


@dataclass(slots=True)
class _Replica:
    """One server, as requests found it."""

    url: str
    rests_until: float = 0.0
    failures: int = 0
    """In a row; those of calls that were under way together count once."""
    suspect_at: int | None = None
    """The version at which it failed: it may have been started again, with other weights. The next publication reaches
    every server, so it ends the suspicion."""
    stale_at: int | None = None
    """The version that it could not be brought to."""
    looked_at: int = 0
    """Connections that had been opened to it when it was last seen to hold the weights of now."""
    losses: int = 0
    """How often it was found without them: what was asked before does not count."""
    restoring: asyncio.Lock = field(default_factory=asyncio.Lock)


class ServerEngine:
    """Implements `Engine`. Belongs to one event loop."""

    def __init__(
        self,
        lines: ServerLines,
        sync: WeightSync,
        *,
        at_once: int = 64,
        call_seconds: float = 600.0,
        retry_seconds: float = 60.0,
        patience: Patience | None = None,
    ) -> None:
        """`at_once` calls are under way over all servers; one may take `call_seconds`, and one that fails is tried again
        for `retry_seconds`.
        """
        self.sync = sync
        self.counts: Counter[str] = Counter()
        """answered, failed, retried, moved (to another server), and tokens: prompt, cached, sampled."""
        self._lines = lines
        self._replicas = {url: _Replica(url) for url in lines.urls}
        self._homes: dict[str, str] = {}
        self._slots = asyncio.Semaphore(at_once)
        self._call_seconds = call_seconds
        self._retry_seconds = retry_seconds
        self._patience = patience or Patience()
        self._jitter = random.Random(0)  # of waiting alone

    @property
    def version(self) -> int:
        return self.sync.version

    async def preflight(self, prompt: Sequence[int] = PROBE) -> None:
        """Ask every server a few short things. Raises `ConfigError` for one that cannot be trained on, and says why."""
        for url in self._lines.urls:
            await check_server(self._lines, url, self.sync.serving, tuple(prompt), seconds=self._call_seconds)

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, *, session: str = "", share: str = ""
    ) -> Completion:
        loop = asyncio.get_running_loop()
        tries, until = 0, None
        while True:
            replica = await self._route(session, share, until)
            try:
                async with self._slots:
                    completion = await self._once(replica, prompt, sampling)
            except (EndpointError, EngineError) as fault:
                tries += 1
                until = until or loop.time() + self._retry_seconds
                if not self._may_mend(replica, fault) or loop.time() >= until:
                    self.counts["failed"] += 1
                    raise _engine_error(replica.url, tries, fault) from fault
                self.counts["retried"] += 1
            else:
                replica.failures, replica.rests_until = 0, 0.0
                self.counts["answered"] += 1
                self.counts["prompt_tokens"] += len(prompt)
                self.counts["cached_tokens"] += completion.cached_tokens
                self.counts["sampled_tokens"] += len(completion.token_ids)
                return completion

    async def release(self, session: str) -> None:
        self._homes.pop(session, None)

    async def close(self) -> None:
        """Let the connections go."""
        await self._lines.close()

    async def _once(self, replica: _Replica, prompt: Sequence[int], sampling: Sampling) -> Completion:
        if replica.suspect_at == self.version:
            await self._restore(replica)
        serving, losses = self.sync.serving, replica.losses
        body = request_body(prompt, sampling, serving)
        reply = await self._lines.post(replica.url, "/v1/completions", body, seconds=self._call_seconds)
        completion = completion_of(reply, sampling, serving.version)
        if self._lines.opened[replica.url] != replica.looked_at:
            await self._look(replica)
        if replica.losses != losses:
            raise ConnectionLostError(
                f"{replica.url} was started again and answered with other weights than those of now"
            )
        return completion

    async def _look(self, replica: _Replica) -> None:
        """Connections were opened since somebody looked which weights this server holds."""
        async with replica.restoring:
            while (opened := self._lines.opened[replica.url]) != replica.looked_at:
                if await self.sync.holds(replica.url) is False:
                    replica.losses += 1
                    replica.suspect_at = self.version
                    return
                replica.looked_at = opened  # looking may have opened one more

    async def _restore(self, replica: _Replica) -> None:
        """Bring a server that was away to the weights of now; one caller does, the others wait."""
        async with replica.restoring:
            version = self.version
            if replica.suspect_at != version:
                return
            if await self.sync.holds(replica.url) is not True:
                replica.losses += 1
                if not await self.sync.restore(replica.url):
                    replica.stale_at = version
                    raise EngineError(
                        f"{replica.url} came back without the weights of version {version}, and they cannot be given to it "
                        "again before the next update; it gets no requests until then."
                    )
            replica.suspect_at = replica.stale_at = None

    def _may_mend(self, replica: _Replica, fault: Exception) -> bool:
        """Note a fault. Whether another try, here or elsewhere, may fare better."""
        if isinstance(fault, EngineError):
            return replica.stale_at is not None and len(self._replicas) > 1
        if isinstance(fault, MissingModelError):
            replica.suspect_at = self.version
        elif not (isinstance(fault, EndpointError) and fault.retryable):
            return False
        elif not isinstance(fault, ThrottledError):
            replica.suspect_at = self.version
        self._rest(replica, fault)
        return not isinstance(fault, SlowError)

    def _rest(self, replica: _Replica, fault: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if now < replica.rests_until:
            return  # sent before the rest began
        wait = fault.retry_after if isinstance(fault, ThrottledError) else None
        if wait is None:
            wait = min(self._patience.longest, self._patience.first * 2.0 ** min(replica.failures, 30))
            wait += self._jitter.uniform(0, self._patience.jitter)
        replica.failures += 1
        replica.rests_until = now + wait
        log.warning("%s rests for %.1f seconds: %s", replica.url, wait, fault)

    async def _route(self, session: str, share: str, until: float | None) -> _Replica:
        """Who is asked next. Waits while all servers rest, but not beyond `until`."""
        loop = asyncio.get_running_loop()
        home = self._homes.get(session) if session else None
        order = self._order(session or share, home or share)
        fit = [replica for replica in order if replica.stale_at is None or replica.stale_at != self.version]
        if not fit:
            raise EngineError(
                f"no server has the weights of version {self.version}: {', '.join(self._lines.urls)} were started again; "
                "the next update brings them back."
            )
        now = loop.time()
        chosen = next((replica for replica in fit if replica.rests_until <= now), None)
        if chosen is None:
            chosen = min(fit, key=lambda replica: replica.rests_until)
            wait = chosen.rests_until - now
            await asyncio.sleep(wait if until is None else max(0.0, min(wait, until - now)))
        if session:
            self.counts["moved"] += home is not None and home != chosen.url
            self._homes[session] = chosen.url
        return chosen

    def _order(self, name: str, preferred: str) -> list[_Replica]:
        """All servers, the preferred one first. `preferred` is an address, or a name whose own order says it.

        Highest random weight (Thaler and Ravishankar 1998): when a server goes, only its conversations move.
        """
        replicas = list(self._replicas.values())
        if len(replicas) == 1:
            return replicas
        if preferred not in self._replicas:
            preferred = max(self._replicas, key=lambda url: _weight(preferred, url)) if preferred else ""
        if not (name or preferred):
            return self._jitter.sample(replicas, len(replicas))
        return sorted(
            replicas, key=lambda replica: (replica.url == preferred, _weight(name, replica.url)), reverse=True
        )


def _weight(name: str, url: str) -> bytes:
    return hashlib.sha256(f"{name}\n{url}".encode()).digest()


def _engine_error(url: str, tries: int, fault: Exception) -> EngineError:
    if isinstance(fault, EngineError):
        return fault
    times = f"{tries} tries" if tries > 1 else "1 try"
    return EngineError(f"no completion came after {times}, at last so: {fault}. See whether {url}/health answers.")
