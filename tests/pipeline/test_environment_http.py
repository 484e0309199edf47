"""The environment over HTTP: real servers, good clients, careless ones, slow ones and curious ones."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests.pipeline.served_environment import SERVE, served

from datagen.agents.budget import Budget
from datagen.agents.toolbox import hits_to_json, window_to_json
from datagen.environment.service import ServiceSettings
from datagen.environment.serving import ServePlan, check_exposure, running
from datagen.environment.tasks import TaskBank
from datagen.errors import ConfigError
from datagen.web.snapshot import BuildOptions, Snapshot, build_snapshot
from datagen.web.snapshot_web import SnapshotWeb
from datagen.web.sources import open_source

pytestmark = pytest.mark.pipeline
TOKEN = "correct horse battery"


@pytest.fixture(scope="module")
def plan(small_web, small_release) -> ServePlan:
    budget = ServiceSettings(Budget(searches=20, visits=20))
    return ServePlan(str(small_web), str(small_release), settings=budget, patience_s=0.4)


@pytest.fixture(scope="module")
def address(plan, tmp_path_factory) -> Iterator[str]:
    with running(plan, tmp_path_factory.mktemp("state")) as address:
        yield address


@pytest.fixture
def client(address) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address) as client:
        yield client


def post(client: httpx.Client, path: str, **body: object) -> dict:
    return client.post(path, json=body).json()


def raw(address: str, data: bytes, wait_s: float = 10.0) -> bytes:
    """What comes back for bytes as they are, until the server hangs up."""
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port), timeout=wait_s) as sock:
        sock.sendall(data)
        parts = []
        try:
            while part := sock.recv(65_536):
                parts.append(part)
        except ConnectionResetError:
            pass
        return b"".join(parts)


def test_an_episode_from_its_task_to_its_reward(client, small_web, small_release):
    web, bank = SnapshotWeb(Snapshot.open(small_web)), TaskBank.open(small_release)
    split = next(iter(bank.splits))
    begun = post(client, "/reset", split=split, index=0)
    episode, question = begun["episode"], begun["task"]["question"]

    found = client.post("/search", json={"query": question, "top_k": 3, "episode": episode})
    url = found.json()["results"][0]["url"]
    read = client.post("/visit", json={"url": url, "episode": episode})

    assert found.text == hits_to_json(web.search(question, 3))
    assert read.text == window_to_json(web.visit(url))
    held = post(client, "/episode", episode=episode)
    assert (held["searches"], held["visits"], held["gradings_left"]) == (1, 1, 1)
    graded = post(client, "/reward", episode=episode, answer=bank.answer(0).text)
    assert (graded["reward"], graded["correct"], graded["searches"]) == (1.0, True, 1)


def test_what_a_policy_does_wrong_is_a_result_and_what_its_trainer_does_wrong_is_a_status(client):
    episode = post(client, "/reset")["episode"]
    answers = {
        "policy, page": client.post("/visit", json={"url": "https://nowhere.example/", "episode": episode}),
        "policy, argument": client.post("/search", json={"query": "x", "limit": 3, "episode": episode}),
        "no episode": client.post("/search", json={"query": "x"}),
        "made-up episode": client.post("/search", json={"query": "x", "episode": "A" * 24}),
        "no task": client.post("/reward", json={"episode": episode, "answer": "x"}),
        "unknown task": client.post("/reset", json={"task_id": "qa1-none"}),
        "argument of reset": client.post("/reset", json={"splitt": "train"}),
        "no JSON": client.post("/search", content=b'{"query": "x"'),
        "no object": client.post("/search", content=b"[1]"),
        "no path": client.get("/answers"),
        "method": client.get("/search"),
        "split": client.get("/tasks", params={"split": "nix"}),
        "page of tasks": client.get("/tasks", params={"split": "train", "count": "-5"}),
    }
    said = {name: (reply.status_code, reply.json()["error"]) for name, reply in answers.items()}

    assert said == {
        "policy, page": (200, "not_found"),
        "policy, argument": (200, "bad_arguments"),
        "no episode": (400, "episode_required"),
        "made-up episode": (404, "unknown_episode"),
        "no task": (409, "no_tasks"),
        "unknown task": (404, "unknown_task"),
        "argument of reset": (400, "bad_arguments"),
        "no JSON": (400, "bad_json"),
        "no object": (400, "bad_json"),
        "no path": (404, "no_such_path"),
        "method": (405, "wrong_method"),
        "split": (404, "unknown_task"),
        "page of tasks": (400, "bad_arguments"),
    }
    assert all(len(reply.content) < 300 for reply in answers.values())


def test_retrieve_takes_what_search_r1_and_skyrl_send(client):
    episode = post(client, "/reset")["episode"]

    batch = post(client, "/retrieve", queries=["town", "river"], topk=2, return_scores=True, episode=episode)["result"]
    single = post(client, "/retrieve", query="town", topk=2, return_scores=True, episode=episode)["result"]

    assert [len(documents) for documents in batch] == [2, 2]
    assert single == batch[:1]
    assert set(batch[0][0]) == {"document", "score"}
    assert post(client, "/episode", episode=episode)["searches"] == 3
    refused = client.post("/retrieve", json={"queries": ["x"] * 18, "episode": episode})
    assert (refused.status_code, refused.json()["error"]) == (409, "budget_spent")


def test_no_answer_is_in_anything_that_a_client_can_get_about_tasks(client, small_release):
    bank = TaskBank.open(small_release)
    said = [client.get(path).text for path in ("/tasks", "/tools", "/health", "/metrics")]
    questions = []
    for split, count in bank.splits.items():
        said.append(client.get("/tasks", params={"split": split, "count": "1000"}).text)
        for index in range(count):
            begun = post(client, "/reset", split=split, index=index)
            questions.append(begun["task"]["question"])
            said += [json.dumps(begun, ensure_ascii=False)]
            for path, more in (("/episode", {}), ("/reward", {"answer": "wrong"}), ("/reward", {"answer": "other"})):
                said.append(client.post(path, json={"episode": begun["episode"], **more}).text)

    text, asked = "\n".join(said), "\n".join(questions)
    assert len(questions) == len(bank)
    for number in range(len(bank)):
        answer = bank.answer(number)
        for form in {answer.text, answer.canonical, answer.key or answer.text, *answer.aliases}:
            if form not in asked:  # the questions of others may state it
                assert form not in text


def test_a_body_that_is_too_large_is_refused_before_it_is_read(address):
    announced = raw(address, b"POST /search HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n{")
    chunk = b"%x\r\n" % 65_536 + b"x" * 65_536 + b"\r\n"
    streamed = raw(address, b"POST /search HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n" + chunk * 40)

    assert announced.startswith(b"HTTP/1.1 413 ")
    assert b'"too_large"' in announced
    assert streamed == b"" or streamed.startswith(b"HTTP/1.1 413 ")  # a reset may overtake the reply


def test_clients_that_do_not_finish_lose_their_connection(address, client):
    assert b'"too_slow"' in raw(address, b'POST /search HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n{"qu')
    assert raw(address, b"POST /search HTTP/1.1\r\nhost: a\r\nx-slow: ") == b""
    assert raw(address, b"") == b""
    assert raw(address, b"GET /health HTTP/1.1\r\nx: " + b"y" * 200_000) == b""
    assert client.get("/health").status_code == 200


def test_what_is_no_http_gets_an_error_and_the_server_goes_on(address, client):
    assert raw(address, b"\x00\x01 nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert client.get("/health").json()["status"] == "ok"


def test_pipelined_requests_are_answered_in_order(address):
    one = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n"
    last = b"GET /nowhere HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"

    replies = raw(address, one * 3 + last)

    assert replies.count(b"HTTP/1.1 200") == 3
    assert replies.rfind(b"HTTP/1.1 404") > replies.rfind(b"HTTP/1.1 200")


def test_pages_of_other_sites_cannot_use_a_server_that_has_no_token(client):
    refused = client.get("/tasks", headers={"origin": "https://evil.example"})

    assert (refused.status_code, refused.json()["error"]) == (403, "foreign_origin")
    assert client.get("/tasks", headers={"origin": "http://localhost:3000"}).status_code == 200


def test_health_and_metrics_say_what_is_served_and_how_it_goes(client, small_web):
    post(client, "/search", query="x")

    health, figures = client.get("/health").json(), client.get("/metrics").json()

    assert (health["snapshot"], health["pages"]) == (Snapshot.open(small_web).digest, 1_200)
    assert (health["budget"], health["open"]) == ({"searches": 20, "visits": 20}, False)
    searched = figures["routes"]["search"]
    assert searched["requests"] > searched["errors"] - 1 >= 0
    assert 0 < searched["p50_ms"] <= searched["p95_ms"] <= searched["p99_ms"]


def test_with_a_token_only_health_is_open(plan, tmp_path):
    guarded = ServePlan(plan.snapshot, plan.release, token=TOKEN)
    with running(guarded, tmp_path) as address, httpx.Client(base_url=address) as client:
        good = {"authorization": f"Bearer {TOKEN}"}

        assert client.get("/health").status_code == 200
        for wrong in ({}, {"authorization": TOKEN}, {"authorization": "Bearer x"}, {"authorization": "bearer é"}):
            headers = {name.encode(): value.encode() for name, value in wrong.items()}
            reply = client.post("/reset", json={}, headers=headers)
            assert (reply.status_code, reply.json()["error"]) == (401, "not_authorised")
        assert client.post("/reset", json={}, headers=good).status_code == 200
        assert client.get("/nowhere").status_code == 401
    assert TOKEN not in repr(guarded)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "env.example"])
def test_an_address_that_others_can_reach_needs_a_token(host, datagen, small_web):
    with pytest.raises(ConfigError, match="--token-env"):
        check_exposure(host, None)
    code, _, said = datagen("serve", small_web, "--host", host)

    assert (code, "--token-env" in said) == (2, True)


def test_a_token_that_is_missing_or_short_is_refused(datagen, small_web, monkeypatch):
    assert "holds no token" in datagen("serve", small_web, "--token-env", "NO_SUCH_VARIABLE")[2]
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    assert "fewer than 16" in datagen("serve", small_web, "--token-env", "SHORT_TOKEN")[2]


def test_a_port_that_is_taken_is_refused_with_the_way_out(datagen, small_web):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, said = datagen("serve", small_web, "--port", taken.getsockname()[1])

    assert code == 2
    assert "--port 0" in said


def test_questions_about_another_snapshot_are_not_served(datagen, small_release, tmp_path):
    build_snapshot([open_source("synthetic:seed=4,pages=300")], tmp_path / "other", BuildOptions("fast", 1))

    code, _, said = datagen("serve", tmp_path / "other", "--release", small_release)

    assert code == 2
    assert "its pages do not hold the answers" in said


def test_what_comes_to_the_mcp_address_is_bounded_as_well(plan, tmp_path):
    with running(replace(plan, mcp=True), tmp_path) as address:
        head = b"POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: "

        assert b'"too_large"' in raw(address, head + b"99999999\r\n\r\n{")
        assert b'"too_slow"' in raw(address, head + b'20\r\n\r\n{"j')
        assert b'"foreign_origin"' in raw(
            address, head + b"2\r\norigin: https://evil.example\r\nconnection: close\r\n\r\n{}"
        )


def test_workers_share_one_budget_to_the_call(small_web):
    with served(small_web, "--workers", "2", "--searches", "100") as address:
        with httpx.Client(base_url=address) as client:
            episode = post(client, "/reset")["episode"]

        def spend(_: int) -> int:
            got = 0
            for _ in range(4):  # a new connection each time, so that both workers are met
                with httpx.Client(base_url=address) as client:
                    for _ in range(5):
                        got += "results" in post(client, "/search", query="town", top_k=1, episode=episode)
            return got

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(spend, range(8))) == 100
        figures = httpx.get(f"{address}/metrics").json()
        assert figures["routes"]["search"]["requests"] == 160
        assert figures["episodes"]["begun"] == 1


def children(pid: int, mark: bytes = b"spawn_main") -> list[int]:
    told = Path(f"/proc/{pid}/task/{pid}/children")
    if not told.exists():
        pytest.skip("this system does not say which processes belong to a server")
    found = [int(child) for child in told.read_text().split()]
    commands = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in found}
    return [child for child, command in commands.items() if mark in command]


def server_of_this_test() -> int:
    (server,) = children(os.getpid(), b"datagen.cli\0serve")
    return server


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition, limit_s: float = 30.0) -> bool:
    end = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_a_worker_that_dies_is_replaced_and_episodes_outlive_it(small_web):
    with served(small_web, "--workers", "1") as address:
        server = server_of_this_test()
        (worker,) = children(server)
        episode = httpx.post(f"{address}/reset", json={}).json()["episode"]
        httpx.post(f"{address}/search", json={"query": "town", "episode": episode})
        time.sleep(5.1)  # younger than this it would be taken for one that cannot live
        os.kill(worker, signal.SIGKILL)

        def answered() -> bool:
            try:
                return httpx.get(f"{address}/health").status_code == 200
            except httpx.TransportError:
                return False

        assert until(answered)
        assert children(server) != [worker]
        assert httpx.post(f"{address}/episode", json={"episode": episode}).json()["searches"] == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_server_however_it_ends(small_web, how):
    with served(small_web, "--workers", "2"):
        server = server_of_this_test()
        workers = children(server)
        assert len(workers) == 2
        os.kill(server, how)

        assert until(lambda: not any(map(alive, workers)))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_leaves_nothing_behind_and_says_so(small_web, tmp_path, how):
    command = [*SERVE, str(small_web), "--port", "0", "--workers", "2"]
    surroundings = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=surroundings, start_new_session=True
    ) as server:
        address = server.stdout.readline().strip()
        assert httpx.get(f"{address}/health").status_code == 200
        assert list(tmp_path.glob("datagen-serve-*"))
        os.killpg(server.pid, how)  # as a terminal does, which tells every process
        said = server.communicate(timeout=30)[1]

    assert server.returncode == 0
    assert said.rstrip().endswith("stopped")
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_when_connections_run_out_others_wait_and_are_answered_later(address):
    """The server runs in this process, so its limit on open files is this process's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    place = urlsplit(address)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(int(entry.name) for entry in Path("/dev/fd").iterdir()) + 3, hard))
    try:
        with socket.create_connection((place.hostname, place.port), timeout=20) as first:
            with contextlib.suppress(OSError), contextlib.ExitStack() as others:
                while True:
                    others.enter_context(socket.create_connection((place.hostname, place.port), timeout=20))
            first.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            reply = first.recv(65_536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert reply.startswith(b"HTTP/1.1 200")
    assert httpx.get(f"{address}/health").status_code == 200
