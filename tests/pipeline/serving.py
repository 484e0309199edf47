"""A real model server on this machine's processor, for tests: `transformers serve` with a tiny random model.

It runs in an environment of its own (`make .venv-serving/.installed`); DATAGEN_SERVING_PYTHON names another one.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
MAKER = Path(__file__).parent / "tiny_model.py"
STARTING_SECONDS = 180
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class ServedModel:
    """Where it answers, and what the model is called there."""

    url: str
    model: str


def serving_python() -> str:
    """The interpreter that has torch and transformers; skips the test where there is none."""
    python = Path(os.environ.get("DATAGEN_SERVING_PYTHON") or ROOT / ".venv-serving" / "bin" / "python")
    if not python.exists():
        pytest.skip(f"{python} is not there: `make .venv-serving/.installed` builds it")
    known = subprocess.run(
        [python, "-c", "import torch, transformers, fastapi, uvicorn"], capture_output=True, text=True
    )
    if known.returncode:
        pytest.skip(f"{python} cannot serve a model: {known.stderr.strip().splitlines()[-1]}")
    return str(python)


@contextmanager
def serving(folder: Path) -> Iterator[ServedModel]:
    """The tiny model, served as long as the block runs."""
    python = serving_python()
    model, log = folder / "tiny-qwen3", folder / "serve.log"
    surroundings = os.environ | OFFLINE
    subprocess.run([python, MAKER, model], check=True, capture_output=True, env=surroundings)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    command = [python, "-m", "transformers.cli.transformers", "serve", model, "--continuous-batching"]
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=out, stderr=out, env=surroundings
        )
    try:
        _wait_until_it_answers(server, f"http://127.0.0.1:{port}/health", log)
        yield ServedModel(f"http://127.0.0.1:{port}/v1", str(model))
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_it_answers(server: subprocess.Popen[bytes], health: str, log: Path) -> None:
    until = time.monotonic() + STARTING_SECONDS
    with httpx.Client(trust_env=False, timeout=5) as client:
        while time.monotonic() < until:
            if server.poll() is not None:
                break
            try:
                if client.get(health).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.2)
    raise AssertionError(f"the model server did not start:\n{log.read_text(errors='replace')[-3000:]}")
