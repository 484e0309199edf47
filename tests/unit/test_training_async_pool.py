"""Attempts that run ahead of the learner: what is under way, in what order it comes, and how old it may be."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import EngineError
from datagen.training.asynchronous import PoolSettings, RolloutPool, attempt_seed
from datagen.training.engines.base import Completion, Sampling
from datagen.training.engines.timing import TimedEngine, spent
from datagen.training.event_loop import LoopThread
from datagen.training.objectives.advantages import AdvantageSettings, group_advantages
from datagen.training.rollout import Rollout


@dataclass(frozen=True)
class Asked:
    id: str


def questions(count: int, first: int = 0) -> list[Asked]:
    return [Asked(f"q{number}") for number in range(first, first + count)]


def rollout(question: Asked, number: int, seed: int, version: int, **more) -> Rollout:
    told = {"reward": float(seed % 2), "correct": bool(seed % 2), "termination": "answered"} | more
    return Rollout(question.id, f"{question.id}-{number}", (), version=version, **told)


class Attempts:
    """Attempts that take as long as they are told, and note what was under way."""

    def __init__(self, seconds=lambda question, number: 0.0, fails=lambda question, number: False):
        self.seconds, self.fails = seconds, fails
        self.begun: list[tuple[str, int, int, int]] = []
        self.under_way = self.most = self.cut_off = 0

    async def __call__(self, question: Asked, number: int, seed: int, version: int) -> Rollout:
        self.begun.append((question.id, number, seed, version))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.seconds(question, number))
            if self.fails(question, number):
                raise ConnectionError("the search index is gone")
        except asyncio.CancelledError:
            self.cut_off += 1
            raise
        finally:
            self.under_way -= 1
        return rollout(question, number, seed, version)


def backwards(question: Asked, number: int) -> float:
    """Later questions are done earlier."""
    return 0.03 - 0.003 * int(question.id[1:])


def test_groups_come_in_the_order_of_their_questions_whatever_is_done_first():
    async def life():
        async with RolloutPool(Attempts(backwards), PoolSettings(groups=6, attempts=3), seed=1) as pool:
            pool.submit(questions(6))
            return await pool.take()

    groups = asyncio.run(life())

    assert [group.question_id for group in groups] == [f"q{n}" for n in range(6)]
    assert [[one.rollout_id for one in group.rollouts] for group in groups][2] == ["q2-0", "q2-1", "q2-2"]


def test_groups_can_be_taken_as_they_finish():
    async def life():
        made = PoolSettings(groups=4, attempts=2, order="finished")
        async with RolloutPool(Attempts(backwards), made, seed=1) as pool:
            pool.submit(questions(4))
            return [group.question_id for group in await pool.take()]

    assert asyncio.run(life()) == ["q3", "q2", "q1", "q0"]


@settings(max_examples=25, deadline=None)
@given(
    at_once=st.integers(1, 9),
    attempts=st.integers(1, 4),
    per_update=st.integers(1, 3),
    max_staleness=st.integers(0, 2),
    delays=st.lists(st.integers(0, 4), min_size=1, max_size=7),
)
def test_bounds_on_what_is_under_way_and_on_age_hold_and_no_attempt_is_lost_or_made_twice(
    at_once, attempts, per_update, max_staleness, delays
):
    calls = Attempts(lambda question, number: 0.0005 * delays[(int(question.id[1:]) + number) % len(delays)])
    total = 7

    async def life():
        made = PoolSettings(groups=per_update, attempts=attempts, at_once=at_once, max_staleness=max_staleness)
        taken, ages = [], Counter()
        async with RolloutPool(calls, made, seed=5) as pool:
            pool.submit(questions(total))
            version = 0
            while groups := await pool.take():
                taken += groups
                await asyncio.sleep(0.001)  # the learner computes, attempts go on
                stats = pool.stats()
                ages.update(stats.staleness)
                assert stats.stale_used == stats.stale_dropped == 0
                assert stats.most_in_flight <= at_once
                version += 3
                pool.published(version)
        return taken, ages

    taken, ages = asyncio.run(life())

    assert [group.question_id for group in taken] == [f"q{n}" for n in range(total)]
    assert all(len(group.rollouts) == attempts for group in taken)
    assert calls.most <= at_once
    assert len(calls.begun) == len({(name, number) for name, number, *_ in calls.begun}) == total * attempts
    assert max(ages) <= max_staleness
    assert sum(ages.values()) == total * attempts


def test_with_no_staleness_nothing_begins_between_an_update_and_its_publication():
    calls = Attempts()

    async def life():
        async with RolloutPool(calls, PoolSettings(groups=2, attempts=2), seed=1) as pool:
            pool.submit(questions(6))
            await pool.take()
            await asyncio.sleep(0.01)
            before = len(calls.begun)
            pool.published(4)
            await pool.take()
            return before, {version for *_, version in calls.begun[before:]}

    assert asyncio.run(life()) == (4, {4})


def test_attempts_run_ahead_by_as_many_updates_as_they_may():
    calls = Attempts()

    async def life():
        async with RolloutPool(calls, PoolSettings(groups=2, attempts=2, max_staleness=2), seed=1) as pool:
            pool.submit(questions(20))
            await pool.take()
            await asyncio.sleep(0.01)
            return len({name for name, *_ in calls.begun})

    assert asyncio.run(life()) == 6


@pytest.mark.parametrize(("stale", "expected"), [("use", 4), ("drop", 0)])
def test_attempts_that_are_too_old_are_counted_and_used_or_dropped(stale, expected):
    async def life():
        made = PoolSettings(groups=1, attempts=4, stale=stale)
        async with RolloutPool(Attempts(lambda *_: 0.01), made, seed=1) as pool:
            pool.submit(questions(1))
            waiting = asyncio.create_task(pool.take())
            await asyncio.sleep(0.002)
            pool.published(1)  # somebody trains on other data meanwhile
            groups = await waiting
            return groups, pool.stats(), pool.consumed

    groups, stats, consumed = asyncio.run(life())

    assert sum(len(group.rollouts) for group in groups) == expected
    assert (stats.stale_used, stats.stale_dropped) == ((4, 0) if stale == "use" else (0, 4))
    assert consumed == 1


def test_a_group_that_was_dropped_whole_is_made_up_for_by_the_next_question():
    async def life():
        made = PoolSettings(groups=1, attempts=2, stale="drop")
        async with RolloutPool(Attempts(lambda *_: 0.01), made, seed=1) as pool:
            pool.submit(questions(3))
            waiting = asyncio.create_task(pool.take())
            await asyncio.sleep(0.002)
            pool.published(1)
            return await asyncio.wait_for(waiting, 5)

    assert [group.question_id for group in asyncio.run(life())] == ["q1"]


def test_seeds_are_those_of_the_address_and_no_two_are_alike():
    first, second = Attempts(), Attempts(backwards)

    async def life(calls):
        async with RolloutPool(calls, PoolSettings(groups=8, attempts=4, at_once=3), seed=11) as pool:
            for epoch in range(2):
                pool.submit(questions(8), epoch=epoch)
                await pool.take()

    asyncio.run(life(first))
    asyncio.run(life(second))

    assert sorted(first.begun) == sorted(second.begun)
    seeds = [seed for *_, seed, _ in first.begun]
    assert len(set(seeds)) == len(seeds) == 64
    assert attempt_seed(11, "q3", 2, 1) in seeds
    assert max(seeds) < 2**53


def test_an_attempt_that_raises_or_takes_too_long_has_no_reward_and_ends_nothing():
    def slow(question, number):
        return 30.0 if (question.id, number) == ("q1", 0) else 0.0

    async def life():
        made = PoolSettings(groups=2, attempts=3, attempt_seconds=0.05)
        calls = Attempts(slow, lambda question, number: (question.id, number) == ("q0", 1))
        async with RolloutPool(calls, made, seed=1, version=9) as pool:
            pool.submit(questions(2))
            return await pool.take(), pool.stats()

    groups, stats = asyncio.run(life())

    broken = [one for group in groups for one in group.rollouts if one.termination == "error"]
    assert [(one.question_id, one.reward, one.correct, one.version) for one in broken] == [
        ("q0", None, None, 9),
        ("q1", None, None, 9),
    ]
    assert (stats.finished, stats.failed, stats.timed_out) == (6, 2, 1)


def test_a_baseline_is_taken_over_whole_attempts_alone():
    rewards = [1.0, 0.0, None, 1.0]

    async def attempt(question, number, seed, version):
        if rewards[number] is None:
            raise EngineError("no completion came")
        return replace(rollout(question, number, seed, version), reward=rewards[number])

    async def life():
        async with RolloutPool(attempt, PoolSettings(groups=1, attempts=4), seed=1) as pool:
            pool.submit(questions(1))
            return (await pool.take())[0]

    told = [one.reward for one in asyncio.run(life()).rollouts]
    found = group_advantages([told], AdvantageSettings())
    whole = group_advantages([[1.0, 0.0, 1.0]], AdvantageSettings())

    assert told == rewards
    assert found.missing == 1
    assert [value for value, reward in zip(found.values[0], told, strict=True) if reward is not None] == whole.values[0]


def test_when_all_of_the_last_attempts_failed_the_run_ends_with_the_reason():
    async def life():
        made = PoolSettings(groups=10, attempts=2, fatal_failures=6, at_once=2)
        calls = Attempts(fails=lambda question, number: int(question.id[1:]) >= 2)
        async with RolloutPool(calls, made, seed=1) as pool:
            pool.submit(questions(10))
            with pytest.raises(
                EngineError, match=r"all of the last 6 attempts failed.*the search index is gone"
            ) as told:
                await pool.take()
            return len(calls.begun), calls.under_way, str(told.value)

    begun, under_way, sentence = asyncio.run(life())

    assert begun in (10, 11)
    assert under_way == 0
    assert sentence.endswith("then resume the run.")


def test_failures_between_successes_never_end_the_run():
    async def life():
        made = PoolSettings(groups=20, attempts=2, fatal_failures=3, at_once=1)
        calls = Attempts(fails=lambda question, number: int(question.id[1:]) % 2 == 0)
        async with RolloutPool(calls, made, seed=1) as pool:
            pool.submit(questions(20))
            return len(await pool.take()), pool.stats().failed

    assert asyncio.run(life()) == (20, 20)


def test_spare_attempts_take_the_place_of_broken_ones_and_the_rest_is_cut_off():
    calls = Attempts(lambda question, number: 5.0 if number >= 4 else 0.0, lambda question, number: number == 1)

    async def life():
        made = PoolSettings(groups=1, attempts=3, spare_attempts=3)
        async with RolloutPool(calls, made, seed=1) as pool:
            pool.submit(questions(1))
            groups = await asyncio.wait_for(pool.take(), 2)
            await asyncio.sleep(0)
            return groups, pool.stats()

    groups, stats = asyncio.run(life())

    assert [one.rollout_id for one in groups[0].rollouts] == ["q0-0", "q0-2", "q0-3"]
    assert all(one.reward is not None for one in groups[0].rollouts)
    assert calls.cut_off == stats.cancelled == 2


def test_cancelling_cuts_off_what_is_under_way_and_the_pool_goes_on_with_other_questions():
    calls = Attempts(lambda question, number: 9.0 if question.id == "q0" else 0.0)

    async def life():
        async with RolloutPool(calls, PoolSettings(groups=1, attempts=2), seed=1) as pool:
            pool.submit(questions(1))
            waiting = asyncio.create_task(pool.take())
            await asyncio.sleep(0.01)
            cut = await pool.cancel()
            assert await waiting == []
            pool.submit(questions(1, first=7))
            return cut, calls.cut_off, [group.question_id for group in await pool.take()]

    assert asyncio.run(life()) == (2, 2, ["q7"])


def test_an_abandoned_take_loses_no_group():
    calls = Attempts(lambda question, number: 0.02)

    async def life():
        async with RolloutPool(calls, PoolSettings(groups=2, attempts=1), seed=1) as pool:
            pool.submit(questions(2))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pool.take(), 0.005)
            return [group.question_id for group in await pool.take()]

    assert asyncio.run(life()) == ["q0", "q1"]


def test_questions_that_run_out_give_fewer_groups_and_then_none():
    async def life():
        async with RolloutPool(Attempts(), PoolSettings(groups=4, attempts=1), seed=1) as pool:
            pool.submit(questions(6))
            return [len(await pool.take()) for _ in range(3)]

    assert asyncio.run(life()) == [4, 2, 0]


def test_versions_that_do_not_rise_are_refused():
    async def life():
        async with RolloutPool(Attempts(), PoolSettings(groups=1), seed=1, version=3) as pool:
            with pytest.raises(ValueError, match="version 3 was published after version 3"):
                pool.published(3)

    asyncio.run(life())


class SlowEngine:
    """An engine in this process that takes a while."""

    version = 0

    async def generate(self, prompt, sampling, *, session="", share=""):
        await asyncio.sleep(0.02)
        return Completion((1,), (-0.5,), "length", 0)

    async def release(self, session):
        pass


def test_time_is_told_apart_into_generation_tools_and_waiting():
    engine = TimedEngine(SlowEngine())

    async def attempt(question, number, seed, version):
        await engine.generate((1, 2), Sampling())
        with spent("tools"):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(_look_up)
        return rollout(question, number, seed, version)

    async def life():
        async with RolloutPool(attempt, PoolSettings(groups=1, attempts=4), seed=1) as pool:
            pool.submit(questions(1))
            await pool.take()
            await asyncio.sleep(0.06)
            return pool.stats(), pool.stats()

    stats, later = asyncio.run(life())

    # A sleep lasts at least as long as it says; how much longer is up to the machine.
    assert stats.generation >= 4 * 0.02 * 0.95
    assert stats.tools >= 4 * 0.02 * 0.95
    assert stats.attempting >= stats.generation + stats.tools
    assert stats.wall >= stats.waited + 0.06 * 0.95
    assert 0 < stats.waiting_share < 1
    assert (later.finished, later.waited) == (0, 0.0)
    told = stats.figures(asynchronous=True)
    assert told["generation_s"] == stats.generation / 4
    assert told["tools_s"] == stats.tools / 4
    assert told["attempt_s"] >= told["generation_s"] + told["tools_s"]
    assert told["waiting"] == stats.waiting_share
    assert "waiting" not in stats.figures(asynchronous=False)
    assert later.figures(asynchronous=False) == {}


def _look_up() -> None:
    import time

    with spent("tools"):
        time.sleep(0.01)


@pytest.mark.parametrize(("kind", "other"), [("generation", "tools"), ("tools", "generation")])
def test_time_of_one_kind_is_not_counted_as_the_other(kind, other):
    engine = TimedEngine(SlowEngine())

    async def attempt(question, number, seed, version):
        await (engine.generate((1, 2), Sampling()) if kind == "generation" else asyncio.to_thread(_look_up))
        return rollout(question, number, seed, version)

    async def life():
        async with RolloutPool(attempt, PoolSettings(groups=1, attempts=2), seed=1) as pool:
            pool.submit(questions(1))
            await pool.take()
            return pool.stats()

    stats = asyncio.run(life())

    assert getattr(stats, kind) > 0
    assert getattr(stats, other) == 0


def test_attempts_go_on_while_the_learner_holds_its_own_thread():
    import time

    calls = Attempts(lambda *_: 0.001)
    with LoopThread() as loop:
        pool = RolloutPool(calls, PoolSettings(groups=1, attempts=2, max_staleness=3), seed=1)
        loop.call(pool.submit, questions(4))
        loop.run(pool.take())
        time.sleep(0.1)  # the learner computes and lets nobody in
        ready = loop.call(pool.stats).ready
        loop.call(pool.published, 1)

    assert ready == 3
