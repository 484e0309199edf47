"""A run on the live web: found through a search service, fetched page by page, replayed without any network."""

from __future__ import annotations

import socket

import pytest
from tests.pipeline.llm_runs import CAST, carried_out, practice, table

from datagen.config import load_config
from datagen.dataset.verify import verify_release
from datagen.errors import ReplayMissError
from datagen.pipeline.finishing import release
from datagen.pipeline.replaying import replay
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb
from datagen.web.synthetic.pages import SyntheticWeb
from datagen.web.synthetic.server import running as serving

pytestmark = pytest.mark.pipeline
MODELS_ONLY = ('cast.roles.planner="symbolic"', 'cast.roles.browser="symbolic"')


@pytest.fixture(scope="module")
def live_run(tmp_path_factory, small_web):
    """A finished run against the served synthetic web, its servers gone."""
    folder = tmp_path_factory.mktemp("live")
    index = SnapshotWeb(Snapshot.open(small_web))
    with serving(SyntheticWeb(3, 1200), search=index) as web, practice() as models:
        port = web.rpartition(":")[2]
        overlays = [
            f"cast.file={CAST}",
            *MODELS_ONLY,
            f"cast.endpoints.practice.base_url={models.url}",
            f"cast.cache={folder}/cache",
            f"web.live.base_url={web}",
            f'web.live.allow_hosts=["127.0.0.1:{port}"]',
            f'web.live.resolve={{".example"="127.0.0.1:{port}"}}',
            "web.live.seconds_per_host=0",
            "web.live.requests_per_minute=100000",
            "web.sources=[]",
            "run.target={duetqa=8}",
            "run.max_candidates_per_question=1",
            "run.runner=thread",
            "gates.rival_attempts=1",
            "rollouts=none",
            f"run.directory={folder}/run",
            f"release.directory={folder}/release",
        ]
        return carried_out(load_config("demo", overlays))


def test_questions_from_the_live_web_say_that_they_are_not_proven_and_how_many_rivals_were_sought(live_run):
    rows = table(live_run, "questions")

    assert rows
    for row in rows:
        assert row["certificate"] is None
        assert row["rivals_tried"] >= 1
        assert all(hop["quote"] for hop in row["hops"])
        assert row["wording"] == "model"


def test_a_run_on_the_live_web_is_replayed_with_every_socket_closed(live_run, monkeypatch):
    def no_network(*_args, **_kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    found = replay(live_run.directory)

    assert found.differences == ()
    assert (found.candidates, found.accepted) == (8, len(table(live_run, "questions")))


def test_the_release_of_a_live_run_holds_against_the_sealed_pages(live_run):
    folder = release(live_run)
    sealed = live_run.directory + "/web/snapshot"

    found = verify_release(folder, sealed)

    assert found.faults == ()
    assert found.questions == len(table(live_run, "questions"))


def test_what_was_never_seen_is_not_made_up_in_a_replay(live_run, tmp_path):
    import shutil

    from datagen import storage

    moved = tmp_path / "run"
    shutil.copytree(live_run.directory, moved)
    for name in ("fetch.sqlite", "fetch.sqlite-wal", "fetch.sqlite-shm"):
        (moved / "web" / name).unlink(missing_ok=True)
    config = storage.read_json(str(moved / "config.json"))
    config["config"]["run"]["directory"] = str(moved)
    storage.write_json(str(moved / "config.json"), config)

    with pytest.raises(ReplayMissError):
        replay(str(moved))
