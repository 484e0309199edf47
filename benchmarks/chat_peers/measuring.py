"""A process and all it starts, watched from outside: CPU, memory, and what an endpoint saw of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
PAUSE_S = 0.1
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Watched:
    """One process with its descendants, from its start to its end."""

    code: int
    seconds: float
    cpu_s: float
    start_cpu_s: float
    """Until the endpoint saw the first request: imports and preparations."""
    peak_mb: float
    """Proportional set sizes of all of them, at the worst moment seen."""
    busy_s: float
    """From the first request to the last reply."""
    ledger: dict[str, Any]
    """Of the endpoint, at the end."""


@contextmanager
def endpoint(*options: str) -> Iterator[str]:
    """The address of a fresh practice endpoint, a process of its own."""
    process = subprocess.Popen([sys.executable, HERE / "endpoint.py", *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def watch(command: Sequence[str | Path], url: str, log: Path, environment: dict[str, str], limit_s: float) -> Watched:
    """Run a command against an endpoint that nobody else uses, until it ends or the limit is reached (code -9)."""
    started = time.perf_counter()
    with log.open("w", encoding="utf-8") as told:
        process = subprocess.Popen(
            command, stdout=told, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        return _watched(process.pid, url, started + limit_s, started)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.returncode = 0  # waited for, or of no more interest


def _watched(process: int, url: str, deadline: float, started: float) -> Watched:
    ticks: dict[int, float] = {}
    first = last = None
    start_cpu, peak, done = 0.0, 0.0, -1
    while True:
        ended, status, used = os.wait4(process, os.WNOHANG)
        ledger, now = _ledger(url), time.perf_counter()
        if first is None and ledger["requests"]:
            first, start_cpu = now, _cpu(process, ticks)
        answered = ledger["totals"]["replies"] + sum(ledger["aborted"].values())
        if answered != done:
            done, last = answered, now
        if ended:
            break
        _cpu(process, ticks)
        peak = max(peak, _memory_mb(process))
        if now > deadline:
            os.killpg(process, signal.SIGKILL)
        time.sleep(PAUSE_S)
    cpu = max(used.ru_utime + used.ru_stime, sum(ticks.values()))
    busy = (last or now) - (first or now)
    return Watched(os.waitstatus_to_exitcode(status), now - started, cpu, start_cpu, peak, busy, ledger)


def _ledger(url: str) -> dict[str, Any]:
    with DIRECT.open(f"{url.removesuffix('/v1')}/ledger", timeout=30) as reply:
        told: dict[str, Any] = json.load(reply)
        return told


def _tree(process: int) -> Iterator[int]:
    yield process
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:
            continue  # a thread that ended meanwhile
        for child in found:
            yield from _tree(int(child))


def _cpu(process: int, ticks: dict[int, float]) -> float:
    """CPU seconds of the tree so far; `ticks` remembers processes that are gone."""
    for member in _tree(process):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks[member] = (int(fields[11]) + int(fields[12])) / TICKS
    return sum(ticks.values())


def _memory_mb(process: int) -> float:
    total = 0
    for member in _tree(process):
        try:
            told = Path(f"/proc/{member}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in told.splitlines() if line.startswith("Pss:")), 0)
    return total / 1024
