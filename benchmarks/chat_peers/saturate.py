"""This project's client against an endpoint that says the same to everybody: calls per second, CPU and memory.

    python benchmarks/chat_peers/saturate.py --url URL --latency 1 --slots 256 --calls 38400

Every call is another one, so the cache is asked and written each time, and so is the ledger. Prints one JSON object. The
client starts with few calls at once and doubles them with every answer, which takes some latencies; `steady` is what comes
after that, until there is no call left to begin.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import tempfile
import time
from pathlib import Path

import job
from ours import in_threads, service

from datagen.clients.chat import ChatRequest, Message, Sampling

RAMP_LATENCIES = 8
FILLER = "The shed has two windows, a bench along the north wall, and a stove that is lit from October to March. "


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--latency", type=float, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--prompt-chars", type=int, default=2_000)
    parser.add_argument("--marks", type=int, nargs="*", default=[], help="memory is read after so many calls")
    given = parser.parse_args()
    prompt = (FILLER * (given.prompt_chars // len(FILLER) + 1))[: given.prompt_chars]
    numbers, ends = itertools.count(), []
    memory, marks = {}, set(given.marks)
    begun_last = 0.0

    with tempfile.TemporaryDirectory() as scratch:
        client = service(given.url, given.slots, Path(scratch))
        system = Message("system", job.SYSTEM)

        def work() -> None:
            nonlocal begun_last
            while (number := next(numbers)) < given.calls:
                begun_last = time.perf_counter()
                asked = Message("user", f"{prompt}\n\nWhat is on shelf {number}?")
                sampling = Sampling(temperature=job.TEMPERATURE, max_tokens=job.MAX_TOKENS, seed=number)
                request = ChatRequest(job.MODEL, (system, asked), sampling=sampling)
                client.complete(request, endpoint="practice", role="writer")
                ends.append(time.perf_counter())
                if len(ends) in marks:
                    memory[len(ends)] = resident_mb()

        started, cpu = time.perf_counter(), cpu_seconds()
        in_threads(given.slots, work)
        seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
    ramp = started + RAMP_LATENCIES * given.latency
    steady = [end for end in ends if ramp < end <= begun_last]
    print(
        json.dumps(
            {
                "calls": len(ends),
                "per_second": len(ends) / seconds,
                "steady_per_second": len(steady) / (begun_last - ramp) if steady else None,
                "cpu_ms_per_call": 1000 * cpu / len(ends),
                "memory_mb": memory,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
