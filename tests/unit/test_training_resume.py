"""A training that is stopped and taken up again ends with the bits of one that never stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.resumable_training import KINDS

PROGRAM = Path(__file__).with_name("resumable_training.py")


def told(folder: Path, verb: str) -> dict[str, Any]:
    """What the program prints, run in a process in which no other test left threads or settings."""
    command = [sys.executable, str(PROGRAM), str(folder), verb]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("resume")


@pytest.fixture(scope="module")
def stopped(folder) -> dict[str, dict[str, str]]:
    """Digests of the process that left the checkpoints in `folder`."""
    return told(folder, "stop")


@pytest.fixture(scope="module")
def continued(folder, stopped) -> dict[str, str]:
    """Digests of another process that goes on from those checkpoints."""
    return told(folder, "go-on")


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_that_goes_on_ends_with_the_same_bits(stopped, continued, kind):
    assert continued[kind] == stopped["never stopped"][kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_objects_of_another_training_go_on_with_the_same_bits(stopped, kind):
    assert stopped["other objects"][kind] == stopped["never stopped"][kind]


@pytest.mark.parametrize("lost", ["loader", "progress", "generators"])
def test_the_digest_notices_a_part_that_is_not_taken_up(stopped, lost):
    assert stopped["lost"][lost] != stopped["never stopped"]["adamw"]
