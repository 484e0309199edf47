"""Run a flow with nothing else to set up: `python -m flows.local pipeline data/presets/demo.toml [--set key=value]`.

With PREFECT_API_URL set, the flow runs against that server. Without it a server is started on a free port for as long as
the flow runs, with its database under PREFECT_HOME; `make serve` shows that database again later. A flow run without any
server would lose part of its record, and a server that is stopped at once loses what it has not stored yet, so the
server is stopped only when it has nothing left to do.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "datagen",  # what the library logs belongs to the record of the run
}
START_TIMEOUT_S = 120
DRAIN_TIMEOUT_S = 300
STABLE_S = 2.0
"""The server stores about 40 task runs a second; a count that stands still for so long stands still for good."""
UNFINISHED = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]


@contextlib.contextmanager
def server(home: Path) -> Iterator[str]:
    """The API address of a server that lives until the block ends; what it was told is stored before it stops."""
    home.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | SETTINGS | {"PREFECT_HOME": str(home.resolve()), "PREFECT_UI_API_URL": url}
    environment.pop("PREFECT_API_URL", None)
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(url, process, home / "server.log")
            yield url
            drain(url)
        finally:
            process.terminate()
            process.wait()


def drain(url: str) -> dict[str, int]:
    """Wait until every task run that the server knows has ended and no more arrive; returns the counts."""
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    counts, since = _counts(url), time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(0.25)
        now = _counts(url)
        if now != counts:
            counts, since = now, time.monotonic()
        elif counts["unfinished"] == 0 and time.monotonic() - since >= STABLE_S:
            return counts
    raise SystemExit(f"the server at {url} still has {counts['unfinished']} unfinished task runs.")


def _counts(url: str) -> dict[str, int]:
    unfinished = {"task_runs": {"state": {"type": {"any_": UNFINISHED}}}}
    return {
        "task_runs": _post(f"{url}/task_runs/count", {}),
        "unfinished": _post(f"{url}/task_runs/count", unfinished),
    }


def _post(url: str, body: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310  the server we started
    with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
        return json.load(reply)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"Prefect's server ended at once; its last words are in {log}.")
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"{url}/health", timeout=2).close()  # noqa: S310
            return
        time.sleep(0.1)
    raise SystemExit(f"Prefect's server did not answer within {START_TIMEOUT_S} s; see {log}.")


def main(arguments: list[str]) -> int:
    if not arguments:
        raise SystemExit("name a flow: python -m flows.local pipeline CONFIG")
    command = [sys.executable, "-m", f"flows.{arguments[0]}", *arguments[1:]]
    with contextlib.ExitStack() as stack:
        url = os.environ.get("PREFECT_API_URL")
        home = Path(os.environ.get("PREFECT_HOME", "out/prefect"))
        if url is None:
            url = stack.enter_context(server(home))
        # The flow runs in a process of its own: when it has ended, everything it had to tell the server is on its way.
        environment = os.environ | SETTINGS | {"PREFECT_API_URL": url, "PREFECT_HOME": str(home.resolve())}
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
