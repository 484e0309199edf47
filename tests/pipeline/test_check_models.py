"""`datagen check` asks every model of a cast what it can do, over real connections, before anything is spent."""

from __future__ import annotations

import json

import pytest
from tests.unit.practice_league import CATALOGUE

from datagen.practice.minds import SymbolicMind
from datagen.practice.server import running
from datagen.practice.wire import WireReply, WireRequest

pytestmark = pytest.mark.pipeline


class Chatterbox:
    """Answers everything with prose, whatever tools or schemas it is given: many a server is like that."""

    def answer(self, request: WireRequest) -> WireReply:
        return WireReply("How nice of you to ask.")


class Listener(Chatterbox):
    """Follows what a prompt says, tools excepted."""

    def answer(self, request: WireRequest) -> WireReply:
        told = "response_format" not in request.body and not request.tool_names
        return SymbolicMind(CATALOGUE).answer(request) if told else super().answer(request)


@pytest.fixture
def check(datagen, tmp_path):
    def call(url: str, *overlays: str):
        settings = (
            "cast.file=practice",
            f"cast.endpoints.practice.base_url={url}",
            "cast.retry_seconds=0",
            f"run.directory={tmp_path}/run",
            *overlays,
        )
        code, out, err = datagen("check", "demo", "--json", *[part for s in settings for part in ("--set", s)])
        return code, {row["about"]: row for row in json.loads(out)}, err

    return call


def test_a_fit_cast_shows_a_row_per_model_and_capability(check):
    with running(SymbolicMind(CATALOGUE)) as server:
        code, rows, _ = check(server.url)

    assert code == 0
    assert {about for about in rows if about.startswith("m1 ")} == {
        f"m1 {each}" for each in ("chat", "usage", "tools", "json_schema", "logprobs", "seed", "cast")
    }
    assert rows["m3 cast"]["detail"] == "practice-m3 at practice can play obfuscator, writer, guesser, judge"


def test_an_unfit_model_fails_the_check_with_role_lack_and_remedy(check):
    with running(Chatterbox()) as server:
        code, rows, err = check(server.url)

    assert code == 2
    assert "the table says what is missing" in err
    assert not rows["m3 cast"]["ok"]
    told = rows["m3 cast"]["detail"]
    assert "cannot play the obfuscator, which needs json_schema" in told
    assert 'set structured = "prompt" in cast.models.m3' in told
    assert rows["m3 tools"]["ok"], "no role of m3 calls tools"
    assert not rows["m1 tools"]["ok"]


def test_the_remedy_mends_it(check):
    with running(Listener()) as server:
        refused = check(server.url)[1]
        mended = check(server.url, 'cast.models.m3.structured="prompt"')[1]

    assert (refused["m3 cast"]["ok"], mended["m3 cast"]["ok"]) == (False, True)
    assert mended["m3 json_schema"]["detail"] == "it follows a schema that its prompt tells."


def test_an_endpoint_that_is_not_there_is_one_row_and_a_sentence(check):
    code, rows, _ = check("http://127.0.0.1:9/v1")

    assert code == 2
    assert {about for about in rows if about.startswith("m2 ")} == {"m2 chat", "m2 cast"}
    assert "start the server, or mend base_url" in rows["m2 cast"]["detail"]


def test_a_key_that_is_not_set_is_named_and_nothing_is_asked(check, monkeypatch):
    monkeypatch.delenv("PRACTICE_KEY", raising=False)

    code, rows, _ = check("http://127.0.0.1:9/v1", "cast.endpoints.practice.api_key_env=PRACTICE_KEY")

    assert code == 2
    assert "export PRACTICE_KEY=" in rows["m1 cast"]["detail"]


def test_programs_are_asked_nothing(datagen, tmp_path):
    code, out, _ = datagen("check", "demo", "--json", "--set", f"run.directory={tmp_path}/run")

    assert code == 0
    assert not any(row["about"].startswith("m") for row in json.loads(out))
