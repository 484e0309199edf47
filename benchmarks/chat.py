"""What a call costs: our client against a perfect endpoint, and the same small job through other generators.

    python -m benchmarks chat                  # a quarter of an hour, and some downloads the first time
    python -m benchmarks chat --records 0      # our client alone
    python -m benchmarks chat --only ours "DataDesigner 0.9.7"

The endpoint is the server of `datagen practice-llm` in a process of its own, on the same machine. Three questions:

    saturation    calls per second at a latency of 1 s with 256 slots; CPU of our process per call
    memory        resident size after a twentieth of the calls, and after all
    job           records of two calls, the second from the reply to the first: speed, CPU and memory of the generator with
                  all its processes, and what becomes of the records

The job meets an endpoint without faults, one where a tenth of the requests meet a fault (chat_peers/endpoint.py says
which), and one that turns away whoever comes while half of the allowed calls are under way. "Wrong" means that a record
holds something else than the model said, "billed" counts the replies that the endpoint answered whole. Other generators
run in environments of their own under --venvs, made at first use; how each is set stands at the top of its script in
chat_peers/.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "chat_peers"
sys.path.insert(0, str(HERE))  # scripts that also run where this package is not installed

import job  # noqa: E402
from measuring import Watched, endpoint, watch  # noqa: E402
from venvs import PEERS, CannotInstallError, python_of  # noqa: E402

OURS = "ours"
JOB_LATENCY_S = 0.3
JOB_SLOTS = 64
BEARS = 32
LIMIT_S = 900
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "NEMO_TELEMETRY_ENABLED": "false",
    "TELEMETRY_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "DISTILABEL_LOG_LEVEL": "WARNING",
    "NO_PROXY": "127.0.0.1",
}
"""Nothing but the endpoint is called, and nobody writes a line per call."""


@dataclass(frozen=True, slots=True)
class Saturation:
    latency_s: float
    slots: int
    calls: int
    prompt_chars: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the endpoint of the job is like; `slots` is how many calls at once it bears."""

    name: str
    options: tuple[str, ...] = ()
    slots: int = JOB_SLOTS


SCENARIOS = {
    "calm": Scenario("no faults"),
    "faults": Scenario("10 % of requests meet a fault", ("--faults", "0.1")),
    "crowded": Scenario(f"{BEARS} at once are borne, {JOB_SLOTS} allowed", ("--at-once", str(BEARS)), BEARS),
}


def saturate(asked: Saturation, marks: list[int]) -> dict[str, Any]:
    with endpoint("--canned", "--latency", str(asked.latency_s)) as url:
        size = ("--calls", asked.calls, "--prompt-chars", asked.prompt_chars)
        options = [str(part) for part in ("--latency", asked.latency_s, "--slots", asked.slots, *size)]
        command = [sys.executable, HERE / "saturate.py", "--url", url, *options]
        done = subprocess.run([*command, "--marks", *map(str, marks)], check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def print_table(head: str, rows: list[str]) -> None:
    names = head.split(" | ")
    print(f"| {head} |\n|---|{'---:|' * (len(names) - 1)}")
    for row in rows:
        print(f"| {row} |")
    sys.stdout.flush()


def report_saturation(calls: int) -> None:
    rows = []
    for asked in (Saturation(1.0, 256, calls, 2_000), Saturation(1.0, 256, calls // 2, 20_000)):
        told = saturate(asked, [])
        ideal = asked.slots / asked.latency_s
        rates = [
            f"{rate:.1f} | {100 * rate / ideal:.1f} %"
            for rate in (told["per_second"], told["steady_per_second"] or 0.0)
        ]
        used = f"{told['cpu_ms_per_call']:.2f} | {told['peak_mb']:.0f}"
        rows.append(f"{asked.prompt_chars:,} | {asked.calls:,} | {ideal:g} | {rates[0]} | {rates[1]} | {used}")
    print_table(
        "prompt characters | calls | ideal calls/s | calls/s | of ideal | after the ramp | of ideal | CPU ms per call | peak MB",
        rows,
    )


def report_memory(calls: int) -> None:
    marks = sorted({calls // 20, calls // 4, calls // 2, calls})
    told = saturate(Saturation(0.02, 64, calls, 2_000), marks)
    sizes = {int(mark): size for mark, size in told["memory_mb"].items()}
    print_table(
        f"after calls | {' | '.join(f'{mark:,}' for mark in sizes)} | calls/s | CPU ms per call",
        [f"resident MB | {' | '.join(f'{size:.0f}' for size in sizes.values())} | {told['per_second']:.0f} | {told['cpu_ms_per_call']:.2f}"],
    )  # fmt: skip


def run_job(
    python: Path, script: str, records: int, scenario: Scenario, scratch: Path
) -> tuple[Watched, dict[str, int]]:
    """One generator at the job; its output stays beside the scratch folder for those who wonder."""
    out, work = scratch / "rows.jsonl", scratch / "work"
    work.mkdir(parents=True)
    environment = {**os.environ, **OFFLINE, "DATA_DESIGNER_HOME": str(scratch / "home")}
    options = ["--records", str(records), "--slots", str(JOB_SLOTS), "--scratch", work, "--out", out]
    with endpoint("--latency", str(JOB_LATENCY_S), *scenario.options) as url:
        watched = watch([python, HERE / script, "--url", url, *options], url, scratch / "log", environment, LIMIT_S)
    return watched, job.score(out, records)


def speed_row(name: str, seen: Watched, score: dict[str, int], slots: int) -> str:
    answered, ideal = seen.ledger["totals"]["replies"], slots / JOB_LATENCY_S
    busy, calls = max(seen.busy_s, 1e-9), max(1, seen.ledger["requests"])
    cpu = f"{1000 * (seen.cpu_s - seen.start_cpu_s) / calls:.2f} | {seen.start_cpu_s:.1f}"
    rates = f"{score['right'] / busy:.1f} | {answered / busy:.1f} | {100 * answered / busy / ideal:.0f} %"
    return f"{name} | {rates} | {cpu} | {seen.peak_mb:.0f} | {seen.seconds:.0f}"


def fate_row(name: str, seen: Watched, score: dict[str, int]) -> str:
    told = seen.ledger
    turned = told["turned_away"] + told["aborted"].get("throttle-wait", 0)
    ended = "yes" if seen.code == 0 else f"no ({seen.code})"
    records = f"{score['right']:,} | {score['wrong']:,} | {score['missing']:,}"
    return f"{name} | {records} | {told['requests']:,} | {turned:,} | {told['totals']['replies']:,} | {ended}"


def report_job(records: int, scenarios: list[Scenario], generators: dict[str, tuple[Path, str]], keep: Path) -> None:
    for number, scenario in enumerate(scenarios):
        load, speeds, fates = os.getloadavg()[0], [], []
        for name, (python, script) in generators.items():
            seen, score = run_job(python, script, records, scenario, keep / f"{number}-{Path(script).stem}")
            speeds.append(speed_row(name, seen, score, scenario.slots))
            fates.append(fate_row(name, seen, score))
            print(f"{scenario.name}: {speeds[-1]} | {fates[-1]}", file=sys.stderr, flush=True)
        print(f"\n{scenario.name}; {records:,} records, load before {load:.1f}\n")
        print_table(
            "generator | right records/s | replies/s | of ideal | CPU ms per request | start-up CPU s | peak MB | whole s", speeds
        )  # fmt: skip
        print()
        print_table("generator | right | wrong | missing | requests | of them 429 | billed replies | ended well", fates)


def installed(wanted: list[str], venvs: Path) -> dict[str, tuple[Path, str]]:
    """Interpreter and script per generator; says which cannot be had, and why."""
    found: dict[str, tuple[Path, str]] = {}
    if not wanted or OURS in wanted:
        found[OURS] = (Path(sys.executable), "ours.py")
    for peer in PEERS:
        if wanted and peer.name not in wanted:
            continue
        try:
            found[peer.name] = (python_of(peer, venvs), peer.script)
        except CannotInstallError as exc:
            print(f"{peer.name} cannot be installed: {exc}", flush=True)
    return found


def _tokens_of(venvs: Path) -> None:
    """Two of the generators count tokens with a table that is downloaded at first use; the third brings it along."""
    for table in venvs.glob("bespokelabs-curator-*/lib/*/site-packages/litellm/litellm_core_utils/tokenizers"):
        OFFLINE["TIKTOKEN_CACHE_DIR"] = str(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=38_400, help="of the saturation; 0 to leave it out")
    parser.add_argument("--memory", type=int, default=100_000, help="calls; 0 to leave it out")
    parser.add_argument("--records", type=int, default=2_000, help="of the job; 0 to leave it out")
    parser.add_argument("--scenarios", nargs="*", choices=SCENARIOS, default=list(SCENARIOS), help="of the job")
    parser.add_argument("--only", nargs="*", default=[], help=f"{OURS}, {', '.join(p.name for p in PEERS)}")
    parser.add_argument("--venvs", type=Path, default=Path.home() / ".cache" / "datagen-bench")
    parser.add_argument("--keep", type=Path, help="a new folder for rows and logs")
    given = parser.parse_args()
    print(f"{dt.date.today()}  {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    if given.calls:
        print("\nsaturation\n")
        report_saturation(given.calls)
    if given.memory:
        print("\nmemory\n")
        report_memory(given.memory)
    if given.records:
        generators = installed(given.only, given.venvs)
        _tokens_of(given.venvs)
        with tempfile.TemporaryDirectory() as scratch:
            report_job(
                given.records, [SCENARIOS[name] for name in given.scenarios], generators, given.keep or Path(scratch)
            )


if __name__ == "__main__":
    main()
