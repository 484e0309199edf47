"""Episodes: exact counts whoever counts, handles that cannot be made up, and a table that never grows."""

from __future__ import annotations

import multiprocessing
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.agents.budget import Budget
from datagen.environment.episodes import EpisodeFault, EpisodeTable
from datagen.errors import StorageError


@pytest.fixture
def table(tmp_path) -> EpisodeTable:
    return EpisodeTable.create(tmp_path / "episodes", slots=8)


def refusal(call, *arguments) -> str:
    with pytest.raises(EpisodeFault) as fault:
        call(*arguments)
    return fault.value.code


def spend_all(path, handles) -> list[int]:
    """How many searches of each episode this process got."""
    table, got = EpisodeTable.open(path), [0] * len(handles)
    left = set(range(len(handles)))
    while left:
        for i in sorted(left):
            try:
                table.spend(handles[i], "search")
                got[i] += 1
            except EpisodeFault as fault:
                if fault.code != "budget_spent":
                    raise
                left.discard(i)
    return got


def test_an_episode_has_exactly_its_budget_of_each_tool(table):
    handle = table.begin(3, Budget(searches=2, visits=1))

    table.spend(handle, "search")
    assert table.spend(handle, "search").searches == 2
    assert table.spend(handle, "visit").visits == 1
    assert refusal(table.spend, handle, "search") == refusal(table.spend, handle, "visit") == "budget_spent"
    held = table.look(handle)
    assert (held.task, held.searches, held.visits) == (3, 2, 1)


def test_processes_share_one_budget_to_the_call(tmp_path, table):
    handles = [table.begin(None, Budget(searches=500 + i, visits=0)) for i in range(3)]

    with multiprocessing.get_context("spawn").Pool(4) as pool:
        got = pool.starmap(spend_all, [(table.path, handles)] * 4)

    assert [sum(each) for each in zip(*got, strict=True)] == [500, 501, 502]


def test_threads_share_one_budget_to_the_call(table):
    handle = table.begin(None, Budget(searches=300, visits=0))

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: spend_all(table.path, [handle])[0], range(8)))

    assert sum(got) == 300


def test_threads_of_one_table_share_one_budget_to_the_call(table):
    handle = table.begin(None, Budget(searches=300, visits=0))

    def spend(_) -> bool:
        try:
            table.spend(handle, "search")
        except EpisodeFault:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(400))) == 300


def test_the_oldest_episode_is_over_when_the_table_is_full_and_says_so(table):
    handles = [table.begin(i, Budget()) for i in range(9)]

    assert refusal(table.spend, handles[0], "search") == "episode_expired"
    assert [table.look(handle).task for handle in handles[1:]] == list(range(1, 9))
    assert table.path.stat().st_size < 1_000


def test_an_answer_is_graded_as_often_as_was_agreed(table):
    handle = table.begin(1, Budget(), gradings=2)

    assert [table.take_grading(handle).gradings_left for _ in range(2)] == [1, 0]
    assert refusal(table.take_grading, handle) == "episode_graded"


@given(st.text() | st.none() | st.integers() | st.text("ABCabc012-_=", min_size=24, max_size=24))
def test_what_was_made_up_is_no_episode(shared, handle):
    with pytest.raises(EpisodeFault) as fault:
        shared.look(handle)
    assert fault.value.code == "unknown_episode"


@given(st.integers(0, 23), st.characters())
def test_a_handle_with_one_other_character_is_no_episode(shared, place, character):
    handle = shared.begin(0, Budget())
    changed = handle[:place] + character + handle[place + 1 :]
    if changed != handle:
        with pytest.raises(EpisodeFault) as fault:
            shared.spend(changed, "search")
        assert fault.value.code == "unknown_episode"
    assert shared.look(handle).searches == 0


def test_a_handle_has_one_spelling(shared):
    handles = [shared.begin(0, Budget()) for _ in range(60)]
    respelled = [handle.replace("-", "+").replace("_", "/") for handle in handles]

    assert respelled != handles
    for handle, other in zip(handles, respelled, strict=True):
        if other != handle:
            with pytest.raises(EpisodeFault) as fault:
                shared.look(other)
            assert fault.value.code == "unknown_episode"


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> EpisodeTable:
    return EpisodeTable.create(tmp_path_factory.mktemp("shared") / "episodes", slots=64)


def test_handles_are_distinct_and_only_their_owner_may_read_the_table(table):
    assert len({table.begin(0, Budget()) for _ in range(200)}) == 200
    assert stat.S_IMODE(table.path.stat().st_mode) == 0o600


def test_a_handle_of_another_table_is_no_episode(table, tmp_path):
    other = EpisodeTable.create(tmp_path / "other", slots=8)

    assert refusal(other.look, table.begin(0, Budget())) == "unknown_episode"


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 500)

    with pytest.raises(StorageError, match="no table of episodes"):
        EpisodeTable.open(tmp_path / "file")
