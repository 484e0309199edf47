"""`datagen serve` as a program, a web behind its MCP tools, and programs that run in another environment's Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal
from mcp import Client

from datagen.agents.toolbox import hits_from_json, window_from_json
from datagen.errors import PageNotFoundError
from datagen.web.tools import Hit, Window

ROOT = Path(__file__).parents[2]
SERVE = (sys.executable, "-m", "datagen.cli", "serve")


@contextmanager
def served(snapshot: Path, *more: object, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of a server on a free port, as long as the block runs."""
    command = [*SERVE, str(snapshot), "--port", "0", *map(str, more)]
    surroundings = {**os.environ, **(env or {})}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=surroundings
    ) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), server.communicate()[1]
            yield address
        finally:
            server.terminate()


class McpWeb:
    """A `Web` whose two verbs are calls of MCP tools, for those who wait for each."""

    def __init__(self, client: Client, portal: BlockingPortal, episode: str | None = None) -> None:
        self._client, self._portal, self._episode = client, portal, episode
        self.calls = 0

    def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        result = self._portal.call(self._client.call_tool, name, arguments)
        raw = json.loads(result.content[0].text)
        assert bool(result.is_error) == ("error" in raw)
        return raw

    def search(self, query: str, top_k: int = 5) -> list[Hit]:
        return hits_from_json(self._asked("search", {"query": query, "top_k": top_k}))

    def visit(self, url: str, offset: int = 0) -> Window:
        raw = self._asked("visit", {"url": url, "offset": offset})
        if raw.get("error") == "not_found":
            raise PageNotFoundError(raw["message"])
        return window_from_json(raw)

    def _asked(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        return self.call(name, arguments if self._episode is None else {**arguments, "episode": self._episode})


def consumer_python(name: str) -> str:
    """The interpreter of a consumer's environment; skips the test where it was not built."""
    python = ROOT / f".venv-{name}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{python} is not there: `make .venv-{name}/.installed` builds it")
    return str(python)


def surroundings(**more: str) -> dict[str, str]:
    """What a consumer's program sees: this checkout to import from, and no network to look for."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(ROOT / "src")}
    return {**os.environ, **offline, **more}


def consume(name: str, script: str, *arguments: object, **more: str) -> dict[str, Any]:
    """Run a script of `consumers/` in a consumer's environment; its last line of output is JSON."""
    command = [consumer_python(name), str(Path(__file__).parent / "consumers" / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=surroundings(**more))
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))
