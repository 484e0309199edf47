"""What several of these tests need: a small fictional web as a snapshot, and the command line as a function."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from datagen.cli import main
from datagen.config import DatagenConfig

SMALL_WEB = "synthetic:seed=3,pages=1200"
SMALL_RUN = (
    "run.target={infoseek=8,duetqa=4}",
    "run.wave_size=60",
    "run.shard_size=20",
    f"web.sources=['{SMALL_WEB}']",
)


@pytest.fixture
def datagen(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """`datagen("search", folder, "words") -> (exit code, stdout, stderr)`."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["datagen", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        printed = capsys.readouterr()
        return int(exit_.value.code or 0), printed.out, printed.err

    return call


@pytest.fixture(scope="session")
def small_web(tmp_path_factory) -> Path:
    """A snapshot of 1,200 fictional pages with facts. Shared by the tests of a process: read it, never write."""
    from datagen.config import KnowledgeConfig, WebConfig
    from datagen.pipeline.corpus import build_corpus_from

    folder = tmp_path_factory.mktemp("small") / "snapshot"
    web = WebConfig(snapshot=str(folder), sources=(SMALL_WEB,), extraction="fast", workers=1)
    build_corpus_from(web, KnowledgeConfig(catalogue="synthetic"))
    return folder


@pytest.fixture(scope="session")
def small_run(small_web) -> Callable[..., list[str]]:
    """`small_run(folder, "run.workers=2")`: arguments that make the demo preset a run of seconds in `folder`."""

    def arguments(folder: Path, *more: str) -> list[str]:
        places = (f"web.snapshot={small_web}", f"run.directory={folder}/run", f"release.directory={folder}/release")
        return [part for key in (*SMALL_RUN, *places, *more) for part in ("--set", key)]

    return arguments


@pytest.fixture(scope="session")
def small_release(tmp_path_factory, small_run) -> Path:
    """A release of twelve questions about the small web, with attempts. Read it, never write."""
    folder = tmp_path_factory.mktemp("small-release")
    command = [sys.executable, "-m", "datagen.cli", "run", "demo", *small_run(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "release"


@pytest.fixture(scope="session")
def practice(tmp_path_factory) -> Path:
    """A folder with `snapshot` and `questions`: some forty questions of one hop, each with a demonstration. Read it only."""
    from datagen.config import KnowledgeConfig, WebConfig
    from datagen.pipeline.corpus import build_corpus_from
    from datagen.pipeline.practising import ChainSettings, PracticePlan, make_practice
    from datagen.runs.workers import serial

    folder = tmp_path_factory.mktemp("practice")
    sources = ("synthetic:seed=7,pages=300",)
    web = WebConfig(snapshot=str(folder / "snapshot"), sources=sources, extraction="fast", workers=1)
    build_corpus_from(web, KnowledgeConfig(catalogue="synthetic"))
    plan = PracticePlan(
        str(folder / "questions"), str(folder / "snapshot"), sources, candidates=40, chains=ChainSettings(hops={1: 1.0})
    )
    make_practice(plan, serial)
    return folder


@pytest.fixture
def tiny_overlays(practice, tmp_path) -> Callable[..., list[str]]:
    """`tiny_overlays("training.rl.updates=1")`: what is laid over `tiny_training.toml` for a run in `tmp_path/run`."""
    places = (
        f'web.snapshot="{practice}/snapshot"',
        f'training.directory="{tmp_path}/run"',
        f'training.data.releases=["{practice}/questions"]',
        f'training.evaluation.sets=[{{name = "seen", questions = "{practice}/questions", split = "train", count = 3}}]',
    )
    return lambda *more: [*places, *more]


@pytest.fixture
def tiny_training(tiny_overlays) -> Callable[..., DatagenConfig]:
    """`tiny_training("training.rl.updates=1")`: a config that trains a very small policy in seconds, in `tmp_path/run`."""
    from datagen.config import load_config

    source = Path(__file__).with_name("tiny_training.toml")
    return lambda *more: load_config(source, tiny_overlays(*more))
