"""The cache of replies: exact, shared by threads and processes, and prunable."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from datagen.cli import app
from datagen.clients.cache import ReplyCache
from datagen.clients.chat import ChatReply, TokenLogprob, ToolCall, Usage
from datagen.clients.reply_json import reply_from_dict, reply_to_dict, sayable
from datagen.errors import StorageError

anything = st.text(st.characters(codec=None), max_size=20)  # halves of surrogate pairs as well
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | anything,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(anything, inner, max_size=4),
    max_leaves=12,
)
counts = st.none() | st.integers(0, 10**9)
logprobs = st.floats(max_value=0, allow_nan=False)  # a server may say -inf
tokens = st.builds(
    TokenLogprob, anything, logprobs, st.lists(st.tuples(anything, logprobs), max_size=3).map(tuple)
)  # fmt: skip
replies = st.builds(
    ChatReply,
    text=anything,
    tool_calls=st.lists(st.builds(ToolCall, anything, anything, anything), max_size=3).map(tuple),
    finish_reason=st.none() | anything,
    usage=st.builds(Usage, counts, counts, counts),
    model=anything,
    refusal=st.none() | anything,
    logprobs=st.none() | st.lists(tokens, max_size=3).map(tuple),
)


@given(replies)
def test_a_reply_comes_back_from_json_exactly_as_it_was(reply):
    assert reply_from_dict(json.loads(json.dumps(reply_to_dict(reply)))) == reply


@given(replies)
def test_what_a_reply_says_can_be_sent_again_as_utf8(reply):
    told = sayable(reply)

    assert sayable(told) == told
    for text in (told.text, told.refusal or "", *(call.arguments for call in told.tool_calls)):
        text.encode()


def test_a_reply_that_can_be_said_is_not_touched():
    reply = ChatReply("😀 é \ufeff", (ToolCall("1", "visit", '{"url": "é"}'),), "stop", Usage(), "m")

    assert sayable(reply) is reply


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(anything, json_values, max_size=5))
def test_a_value_comes_back_exactly_as_it_was_put(tmp_path_factory, value):
    cache = ReplyCache(tmp_path_factory.mktemp("cache"), "chat")

    cache.put("k", value)

    assert cache.get("k") == value
    cache.close()


def test_what_was_never_put_is_none(tmp_path):
    assert ReplyCache(tmp_path, "chat").get("k") is None


def test_stores_of_one_folder_are_separate(tmp_path):
    ReplyCache(tmp_path, "chat").put("k", {"from": "chat"})

    assert ReplyCache(tmp_path, "search").get("k") is None


def test_the_first_value_of_a_key_stays(tmp_path):
    cache = ReplyCache(tmp_path, "chat")

    cache.put("k", {"n": 1})
    cache.put("k", {"n": 2})

    assert cache.get("k") == {"n": 1}


def test_two_threads_with_one_request_pay_once_and_others_do_not_wait_for_them(tmp_path):
    cache = ReplyCache(tmp_path, "chat")
    paid, meeting = [], threading.Barrier(3)

    def ask(number: int) -> dict:
        key = f"k{number % 3}"
        with cache.single_flight(key):
            value = cache.get(key)
            if value is None:
                meeting.wait(20)  # three different keys are in flight at once, or this breaks
                paid.append(key)
                value = {"key": key}
                cache.put(key, value)
            return value

    with ThreadPoolExecutor(48) as pool:
        values = list(pool.map(ask, range(96)))

    assert sorted(paid) == ["k0", "k1", "k2"]
    assert values == [{"key": f"k{number % 3}"} for number in range(96)]


def test_a_turn_ends_when_the_call_fails(tmp_path):
    cache = ReplyCache(tmp_path, "chat")

    with pytest.raises(ZeroDivisionError), cache.single_flight("k"):
        raise ZeroDivisionError

    with cache.single_flight("k"):
        assert cache.get("k") is None


def test_256_threads_write_and_read_at_once(tmp_path):
    cache = ReplyCache(tmp_path, "chat")

    def work(number: int) -> bool:
        for i in range(4):
            cache.put(f"{number}-{i}", {"n": number, "i": i})
            assert cache.get(f"{number}-{i}") == {"n": number, "i": i}, "a reply is committed before it is returned"
        return True

    with ThreadPoolExecutor(256) as pool:
        assert all(pool.map(work, range(256)))

    assert cache.stats().entries == 1024


WRITER = """
import sys
from pathlib import Path
from datagen.clients.cache import ReplyCache
cache = ReplyCache(Path(sys.argv[1]), "chat")
for i in range(int(sys.argv[3])):
    cache.put(f"{sys.argv[2]}-{i}", {"n": i, "text": "x" * 500})
    print(f"{sys.argv[2]}-{i}", flush=True)
"""


def test_processes_open_a_new_cache_at_once_and_write_to_it_together(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]

    writers = [subprocess.Popen([*command, str(n), "60"], stdout=subprocess.DEVNULL) for n in range(6)]

    assert [writer.wait(60) for writer in writers] == [0] * 6
    assert ReplyCache(tmp_path, "chat").stats().entries == 360


def test_everything_that_was_put_survives_kill_9(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path), "w", "1000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline().strip() for _ in range(300)]
        writer.kill()
        told += writer.stdout.read().split("\n")[:-1]

    cache = ReplyCache(tmp_path, "chat")

    assert [key for key in told if cache.get(key) is None] == []


def test_a_child_made_by_fork_has_connections_of_its_own(tmp_path):
    cache = ReplyCache(tmp_path, "chat")
    cache.put("parent", {"n": 1})

    child = os.fork()
    if child == 0:
        code = 2
        try:
            seen = cache.get("parent")
            cache.put("child", {"n": 2})
            code = 0 if seen == {"n": 1} else 1
        finally:
            os._exit(code)  # the child must not run the rest of the tests
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert cache.get("child") == {"n": 2}
    cache.put("parent again", {"n": 3})
    assert ReplyCache(tmp_path, "chat").get("parent again") == {"n": 3}


@contextlib.contextmanager
def by_hand(path):
    """The file as somebody with a SQLite shell sees it."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def aged(tmp_path, days: dict[str, float]) -> ReplyCache:
    """A cache whose entries, each of about a thousand bytes, are that many days old."""
    cache = ReplyCache(tmp_path, "chat")
    for key in days:
        cache.put(key, {"noise": os.urandom(1_000).hex()}, model=f"model of {key}", role="solver")
    with by_hand(cache.path) as connection:
        for key, age in days.items():
            connection.execute("UPDATE replies SET created_at = created_at - ? WHERE key = ?", (age * 86_400, key))
    return cache


def kept(cache: ReplyCache) -> list[str]:
    with by_hand(cache.path) as connection:
        return [key for (key,) in connection.execute("SELECT key FROM replies ORDER BY created_at")]


def test_old_entries_go_and_a_dry_run_only_says_so(tmp_path):
    cache = aged(tmp_path, {"old": 40, "middle": 20, "new": 0})

    told = cache.prune(older_than_days=30, dry_run=True)
    assert (told.entries, kept(cache)) == (1, ["old", "middle", "new"])

    assert cache.prune(older_than_days=30) == told
    assert kept(cache) == ["middle", "new"]


def test_the_newest_entries_stay_within_a_size(tmp_path):
    cache = aged(tmp_path, {"old": 3, "middle": 2, "new": 1})
    size = cache.stats().stored_bytes

    cache.prune(max_bytes=size * 2 // 3 + 50)

    assert kept(cache) == ["middle", "new"]


def test_entries_of_an_older_key_version_go_and_are_told_apart_before(tmp_path):
    aged(tmp_path, {"a": 0, "b": 0}).close()
    newer = ReplyCache(tmp_path, "chat", version=2)
    newer.put("c", {})

    assert newer.stats().outdated == 2
    assert newer.prune().entries == 2
    assert kept(newer) == ["c"]


def test_pruned_space_goes_back_to_the_disk(tmp_path):
    cache = aged(tmp_path, dict.fromkeys(map(str, range(200)), 10.0))
    cache.close()
    before = cache.path.stat().st_size

    cache = ReplyCache(tmp_path, "chat")
    cache.prune(older_than_days=1)
    cache.close()

    assert cache.path.stat().st_size < before / 3


def test_stats_add_up(tmp_path):
    cache = aged(tmp_path, {"a": 3, "b": 0})

    stats = cache.stats()

    assert (stats.store, stats.entries, stats.outdated) == ("chat", 2, 0)
    assert [(m.model, m.entries) for m in stats.models] == [("model of a", 1), ("model of b", 1)]
    assert stats.raw_bytes > stats.stored_bytes == sum(m.stored_bytes for m in stats.models)
    assert stats.newest - stats.oldest == pytest.approx(3 * 86_400, abs=60)


def test_an_empty_cache_has_stats(tmp_path):
    stats = ReplyCache(tmp_path, "chat").stats()

    assert (stats.entries, stats.oldest, stats.newest, stats.models) == (0, None, None, ())


def test_a_file_that_is_no_cache_is_refused_with_advice(tmp_path):
    (tmp_path / "chat.sqlite").write_bytes(b"something else entirely, longer than a header" * 100)

    with pytest.raises(StorageError, match="datagen cache prune"):
        ReplyCache(tmp_path, "chat")


def test_a_cache_of_another_format_is_refused(tmp_path):
    with by_hand(tmp_path / "chat.sqlite") as connection:
        connection.execute("PRAGMA user_version = 77")

    with pytest.raises(StorageError, match="has format 77 and this program uses format 1"):
        ReplyCache(tmp_path, "chat")


def test_a_damaged_entry_is_named(tmp_path):
    cache = aged(tmp_path, {"a": 0})
    with by_hand(cache.path) as connection:
        connection.execute("UPDATE replies SET body = x'00'")

    with pytest.raises(StorageError, match=r"entry a of .* is damaged"):
        cache.get("a")


def test_the_command_line_says_what_a_cache_holds_and_prunes_it(tmp_path):
    aged(tmp_path, {"a": 40, "b": 0}).close()
    run = CliRunner()

    told = json.loads(run.invoke(app, ["cache", "stats", str(tmp_path), "--json"]).stdout)
    table = run.invoke(app, ["cache", "stats", str(tmp_path)]).stdout
    dry = run.invoke(app, ["cache", "prune", str(tmp_path), "--older-than", "30", "--dry-run"])
    gone = run.invoke(app, ["cache", "prune", str(tmp_path), "--older-than", "30"])

    assert (told[0]["store"], told[0]["entries"]) == ("chat", 2)
    assert "model of a" in table
    assert (dry.exit_code, gone.exit_code) == (0, 0)
    assert kept(ReplyCache(tmp_path, "chat")) == ["b"]


def test_the_command_line_refuses_a_folder_without_a_cache(tmp_path):
    fault = CliRunner().invoke(app, ["cache", "stats", str(tmp_path)]).exception

    assert "holds no cache" in str(fault)


ASKER = """
import sys, time
from pathlib import Path
from datagen.clients.cache import ReplyCache
cache = ReplyCache(Path(sys.argv[1]), "chat")
for i in range(20):
    with cache.single_flight(f"k{i}"):
        if cache.get(f"k{i}") is None:
            time.sleep(0.01)
            with open(sys.argv[2], "a") as paid:
                paid.write(f"k{i}\\n")
            cache.put(f"k{i}", {"n": i})
"""


def test_two_processes_with_one_request_pay_once(tmp_path):
    command = [sys.executable, "-c", ASKER, str(tmp_path), str(tmp_path / "paid")]

    askers = [subprocess.Popen(command) for _ in range(4)]

    assert [asker.wait(60) for asker in askers] == [0] * 4
    assert sorted((tmp_path / "paid").read_text().split()) == sorted(f"k{i}" for i in range(20))


HOLDER = """
import sys, time
from pathlib import Path
from datagen.clients.cache import ReplyCache
with ReplyCache(Path(sys.argv[1]), "chat").single_flight("k"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_nobody_waits_for_the_turn_of_a_process_that_was_killed(tmp_path):
    cache, entered = ReplyCache(tmp_path, "chat"), threading.Event()

    def wait_for_the_turn() -> None:
        with cache.single_flight("k"):
            entered.set()

    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        waiting = threading.Thread(target=wait_for_the_turn)
        waiting.start()
        assert not entered.wait(0.1)
        other.kill()
        assert entered.wait(20)
    waiting.join()
