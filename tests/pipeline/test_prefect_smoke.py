"""The pinned Prefect, as it is installed: a real server, an artifact written and read, a schedule that fires.

An import check passes with versions of fastapi and sqlalchemy with which none of this works; see pyproject.toml.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from flows.local import SETTINGS, drain, server

pytestmark = pytest.mark.pipeline
ROOT = Path(__file__).parents[2]
PROBE = Path(__file__).with_name("prefect_probe.py")


@pytest.fixture(scope="module")
def prefect(tmp_path_factory) -> Iterator[dict[str, str]]:
    """Environment of a process that talks to a server of our own."""
    home = tmp_path_factory.mktemp("prefect")
    with server(home) as url:
        yield os.environ | SETTINGS | {"PREFECT_API_URL": url, "PREFECT_HOME": str(home), "PYTHONPATH": str(ROOT)}


def post(environment: dict[str, str], path: str, body: dict) -> list | dict:
    url = f"{environment['PREFECT_API_URL']}/{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


def flow_runs(environment: dict[str, str], flow: str) -> list[str]:
    """The states of all runs of a flow."""
    runs = post(environment, "flow_runs/filter", {"flows": {"name": {"any_": [flow]}}})
    return [run["state_type"] for run in runs]


def test_a_run_over_the_process_runner_leaves_its_whole_record_and_a_readable_artifact(prefect, tmp_path):
    command = [sys.executable, str(PROBE), "run", str(tmp_path / "run")]
    done = subprocess.run(command, env=prefect, capture_output=True, text=True, timeout=180, check=False)

    assert done.returncode == 0, done.stderr
    assert '"accepted": 60' in done.stdout
    drain(prefect["PREFECT_API_URL"])
    recorded = {run["name"]: run["state_type"] for run in post(prefect, "task_runs/filter", {"limit": 200})}
    shards = [path.stem for path in (tmp_path / "run" / "shards").iterdir()]
    assert len(recorded) == len(shards)
    assert set(recorded.values()) == {"COMPLETED"}


def test_a_scheduled_deployment_fires(prefect):
    serving = subprocess.Popen([sys.executable, str(PROBE), "serve"], env=prefect, stderr=subprocess.DEVNULL)
    fired = {"flows": {"name": {"any_": ["tick"]}}, "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    try:
        deadline = time.monotonic() + 90
        while not (runs := post(prefect, "flow_runs/filter", fired)) and time.monotonic() < deadline:
            time.sleep(0.5)
    finally:
        serving.terminate()
        serving.wait()

    assert runs
    assert runs[0]["auto_scheduled"]
    assert post(prefect, "artifacts/filter", {"artifacts": {"key": {"any_": ["tick"]}}})


def test_the_pipeline_flow_makes_a_release_shows_it_and_may_be_run_again(prefect, small_run, tmp_path):
    command = [sys.executable, "-m", "flows.pipeline", "demo", *small_run(tmp_path, "run.workers=2")]
    first = subprocess.run(command, env=prefect, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert first.returncode == 0, first.stderr
    assert "accepted  4 of 4 duetqa, 8 of 8 infoseek" in first.stdout

    again = subprocess.run(command, env=prefect, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (again.returncode, again.stdout) == (0, first.stdout)

    assert flow_runs(prefect, "pipeline") == flow_runs(prefect, "make-questions") == ["COMPLETED"] * 2
    artifacts = post(prefect, "artifacts/filter", {"artifacts": {"type": {"any_": ["table", "markdown", "progress"]}}})
    assert {"snapshot", "accepted", "funnel", "sample-questions", "card"} <= {row["key"] for row in artifacts}
    logged = [entry["message"] for entry in post(prefect, "logs/filter", {"limit": 200})]
    assert any(message.startswith("wave 0: accepted") for message in logged)


def test_a_faulty_config_never_becomes_a_flow_run(prefect, tmp_path):
    before = flow_runs(prefect, "pipeline")
    (tmp_path / "faulty.toml").write_text("[run]\nsede = 1\n")
    command = [sys.executable, "-m", "flows.pipeline", str(tmp_path / "faulty.toml")]
    done = subprocess.run(command, env=prefect, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 2
    assert "did you mean `seed`?" in done.stderr
    assert flow_runs(prefect, "pipeline") == before


def test_every_deployment_of_the_project_registers_with_its_schedule(prefect):
    prefect_command = [sys.executable, "-m", "prefect"]
    pool = [*prefect_command, "work-pool", "create", "--type", "process", "local-process"]
    subprocess.run(pool, env=prefect, cwd=ROOT, check=True, capture_output=True, timeout=120)
    deploy = [*prefect_command, "--no-prompt", "deploy", "--all"]
    done = subprocess.run(deploy, env=prefect, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    found = {row["name"]: row for row in post(prefect, "deployments/filter", {}) if row["name"] != "every-ten-seconds"}
    assert {"demo", "nightly", "attempts", "search-agent", "policies", "loop"} == set(found)
    assert [s["schedule"]["cron"] for s in found["nightly"]["schedules"]] == ["0 2 * * *"]
    assert found["demo"]["enforce_parameter_schema"]
