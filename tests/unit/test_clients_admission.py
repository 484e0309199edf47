"""Who may call now: limits, waiting, and endpoints that are down. No test waits for time to pass."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from datagen.clients.admission import (
    COOL_DOWN_SECONDS,
    MIN_WINDOW,
    PATIENCE_SECONDS,
    REST_SECONDS,
    SUCCESSES_PER_STEP,
    AdaptiveLimit,
    Clock,
    FailureWindow,
    Limiter,
    RateLimiter,
)
from datagen.errors import EndpointDownError

LONG = 20.0
"""Real seconds after which a thread that should have been woken counts as stuck."""


class HandClock(Clock):
    """Time that passes only when somebody waits for it."""

    def __init__(self) -> None:
        self.time = 100.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def wait(self, event: threading.Event, seconds: float | None) -> None:
        if seconds is None:
            assert event.wait(LONG), "nobody woke a thread that waited for a slot"
        elif not event.is_set():
            self.sleep(seconds)


steps = st.lists(st.tuples(st.sampled_from(["succeeded", "throttled"]), st.floats(0, 5)), max_size=200)


@given(most=st.integers(1, 300), start=st.integers(-3, 400), steps=steps)
def test_the_limit_stays_between_one_and_the_most_and_is_cut_once_per_cool_down(most, start, steps):
    allowed, now, cuts = AdaptiveLimit(most, start), 0.0, []

    for step, seconds in steps:
        now += seconds
        before = allowed.limit
        if step == "throttled":
            allowed.throttled(now)
            assert allowed.limit in {before, max(1, int(before * 0.75))}
            if allowed.limit < before:
                cuts.append(now)
        elif step == "succeeded":
            allowed.succeeded()
            assert before <= allowed.limit <= before + 1
        assert 1 <= allowed.limit <= most

    assert all(later - earlier >= COOL_DOWN_SECONDS for earlier, later in itertools.pairwise(cuts))


def test_the_limit_ramps_up_with_every_success_until_the_first_throttling_and_slowly_after_it():
    allowed = AdaptiveLimit(100, 8)

    for _ in range(12):
        allowed.succeeded()
    assert allowed.limit == 20

    allowed.throttled(now=0.0)
    assert allowed.limit == 15

    for _ in range(SUCCESSES_PER_STEP - 1):
        allowed.succeeded()
    assert allowed.limit == 15
    allowed.succeeded()
    assert allowed.limit == 16


def test_throttled_calls_that_were_sent_before_a_cut_do_not_hold_up_the_rise_after_it():
    allowed = AdaptiveLimit(100, 8)
    allowed.throttled(now=0.0)

    for number in range(SUCCESSES_PER_STEP):
        allowed.succeeded()
        allowed.throttled(now=number / SUCCESSES_PER_STEP)

    assert allowed.limit == 7


def test_the_first_cut_starts_from_what_was_in_flight_where_the_ramp_ran_ahead_of_it():
    allowed = AdaptiveLimit(100, 8)
    for _ in range(56):
        allowed.succeeded()

    allowed.throttled(now=0.0, in_flight=33)
    assert allowed.limit == 24

    allowed.throttled(now=COOL_DOWN_SECONDS, in_flight=5)  # after the ramp few in flight may just mean little to do
    assert allowed.limit == 18


def test_failures_leave_the_limit_to_rise_with_successes():
    limiter = Limiter(100, 8)
    with limiter.slot():
        limiter.throttled()
    assert limiter.standing()["limit"] == 6

    for _ in range(SUCCESSES_PER_STEP):
        limiter.failed()
        limiter.succeeded()
    assert limiter.standing()["limit"] == 7


class LimiterMachine(RuleBasedStateMachine):
    """One thread plays many callers: nobody enters a full or shut limiter, everybody leaves."""

    @initialize(most=st.integers(1, 12), start=st.integers(1, 12))
    def open(self, most, start):
        self.clock = HandClock()
        self.most = most
        self.limiter = Limiter(most, start, clock=self.clock)
        self.inside = []
        self.shut_until = 0.0

    def standing(self):
        return self.limiter.standing()

    @precondition(lambda self: len(self.inside) < self.standing()["limit"])
    @rule()
    def enter(self):
        slot = self.limiter.slot()
        slot.__enter__()
        self.inside.append(slot)

        assert self.clock.now() >= self.shut_until, "somebody started while the endpoint asked to wait"
        assert len(self.inside) <= self.standing()["limit"]

    @precondition(lambda self: self.inside)
    @rule(which=st.integers(0, 11), fault=st.none() | st.sampled_from([OSError(), KeyboardInterrupt()]))
    def leave(self, which, fault):
        self.inside.pop(which % len(self.inside)).__exit__(type(fault), fault, None)
        if fault is None:
            self.limiter.succeeded()

    @rule(after=st.none() | st.floats(0, 60))
    def throttle(self, after):
        self.limiter.throttled(after)
        if after is not None:
            self.shut_until = max(self.shut_until, self.clock.now() + after)

    @rule(seconds=st.floats(0, 10))
    def time_passes(self, seconds):
        self.clock.time += seconds

    @invariant()
    def counts_agree(self):
        if hasattr(self, "limiter"):
            assert self.standing()["in_flight"] == len(self.inside)
            assert 1 <= self.standing()["limit"] <= self.most


TestLimiterMachine = LimiterMachine.TestCase
TestLimiterMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@settings(max_examples=15, deadline=None)
@given(
    most=st.integers(1, 9),
    threads=st.integers(1, 40),
    ends=st.lists(st.sampled_from(["fine", "throttled", "told to wait", "breaks"]), min_size=1, max_size=60),
)
def test_with_many_threads_no_more_are_inside_than_allowed_and_all_slots_come_back(most, threads, ends):
    limiter = Limiter(most, start=2, clock=HandClock())
    guard, inside, seen = threading.Lock(), [0], []

    def call(how: str) -> None:
        with limiter.slot():
            with guard:
                inside[0] += 1
                seen.append(inside[0])
            with guard:
                inside[0] -= 1
            if how == "breaks":
                raise RuntimeError("a fault of the caller's own")
        if how == "fine":
            limiter.succeeded()
        else:
            limiter.throttled(3.0 if how == "told to wait" else None)

    with ThreadPoolExecutor(threads) as pool:
        done = [pool.submit(call, how) for how in ends]
    faults = [job.exception() for job in done]

    assert len(seen) == len(ends)
    assert max(seen) <= most
    assert sum(fault is not None for fault in faults) == ends.count("breaks")
    standing = limiter.standing()
    assert (standing["in_flight"], standing["waiting"]) == (0, 0)


def test_nobody_starts_before_the_time_that_the_endpoint_asked_for_is_over():
    clock = HandClock()
    limiter = Limiter(4, start=4, clock=clock)
    limiter.throttled(retry_after=30)

    started = []
    for _ in range(3):
        with limiter.slot():
            started.append(clock.now())

    assert started == [130.0, 130.0, 130.0]


def test_the_slot_of_a_call_that_was_turned_away_rests_so_that_not_all_who_wait_bounce_one_after_another():
    clock = HandClock()
    limiter = Limiter(4, 4, clock=clock)

    for _ in range(3):
        with limiter.slot():
            limiter.throttled(None)
    began = clock.time
    with limiter.slot():  # of the three slots that the cut left, all rest
        assert clock.time == pytest.approx(began + REST_SECONDS)

    assert limiter.standing()["in_flight"] == 0


def test_an_endpoint_that_says_how_long_to_wait_is_waited_for_and_no_slot_rests_beyond_that():
    clock = HandClock()
    limiter = Limiter(4, 4, clock=clock)
    with limiter.slot():
        limiter.throttled(0.1)

    with limiter.slot(), limiter.slot(), limiter.slot():
        assert clock.time == pytest.approx(100.1)


def test_a_slot_comes_back_when_its_block_fails():
    limiter = Limiter(1, clock=HandClock())

    with pytest.raises(ZeroDivisionError), limiter.slot():
        raise ZeroDivisionError

    with limiter.slot():
        assert limiter.standing()["in_flight"] == 1


def test_free_slots_go_to_who_has_waited_longest():
    limiter = Limiter(1, clock=HandClock())
    order = []

    def call(number: int) -> None:
        with limiter.slot():
            order.append(number)

    limiter.enter()
    threads = []
    for number in range(12):
        threads.append(threading.Thread(target=call, args=(number,)))
        threads[-1].start()
        while limiter.standing()["waiting"] <= number:
            pass
    limiter.leave()
    for thread in threads:
        thread.join()

    assert order == list(range(12))


def test_an_endpoint_of_which_every_call_fails_is_down_for_who_waits_and_who_comes():
    limiter = Limiter(1, name="endpoint local", resume="`datagen resume out/run`", clock=HandClock())
    limiter.enter()
    told = []

    def wait_in_line() -> None:
        try:
            limiter.enter()
        except EndpointDownError as fault:
            told.append(fault)

    waiting = threading.Thread(target=wait_in_line)
    waiting.start()
    while limiter.standing()["waiting"] < 1:
        pass
    for _ in range(MIN_WINDOW):
        limiter.failed()
    waiting.join()
    limiter.leave()

    assert len(told) == 1
    with pytest.raises(EndpointDownError, match=r"endpoint local seems to be down: 20 of its last 20 calls failed.*"
                                                r"run `datagen resume out/run`\."):  # fmt: skip
        limiter.enter()
    assert limiter.standing()["in_flight"] == 0


def test_one_failed_call_of_each_that_was_in_flight_does_not_make_an_endpoint_down_but_two_do():
    limiter = Limiter(64, start=64, clock=HandClock())

    def round_of_calls(ended) -> None:
        for _ in range(64):
            limiter.enter()
        for _ in range(64):
            ended()
            limiter.leave()

    for _ in range(3):
        round_of_calls(limiter.succeeded)
    round_of_calls(limiter.failed)
    limiter.check()
    round_of_calls(limiter.failed)

    with pytest.raises(EndpointDownError):
        limiter.check()


def test_throttled_calls_do_not_count_as_failed():
    limiter = Limiter(4, clock=HandClock())

    for _ in range(200):
        limiter.throttled()

    limiter.check()


@given(st.lists(st.booleans(), max_size=400))
def test_a_window_is_down_exactly_when_nearly_all_of_its_last_calls_failed(ends):
    window = FailureWindow()

    for end, failed in enumerate(ends, start=1):
        window.ended(failed=failed, in_flight=1)
        last = ends[max(0, end - MIN_WINDOW) : end]
        assert window.down == (len(last) == MIN_WINDOW and sum(last) >= 0.95 * MIN_WINDOW)


def test_an_endpoint_that_asks_for_hours_ends_the_run_instead_of_sleeping():
    limiter = Limiter(4, clock=HandClock())

    limiter.throttled(PATIENCE_SECONDS * 4)

    with pytest.raises(EndpointDownError, match="asks to wait 3,600 seconds"):
        limiter.enter()


def test_turns_of_a_fixed_rate_are_evenly_spaced():
    clock = HandClock()
    rate = RateLimiter(per_minute=120, clock=clock)

    started = []
    for _ in range(4):
        rate.wait()
        started.append(clock.now())

    assert started == [100.0, 100.5, 101.0, 101.5]


def test_a_fixed_rate_waits_as_long_as_the_service_asks():
    clock = HandClock()
    rate = RateLimiter(per_minute=60, clock=clock)

    rate.throttled(10)
    rate.wait()
    assert clock.now() == 110.0

    rate.throttled()
    rate.wait()
    assert clock.now() == 111.0


def test_who_sleeps_until_his_turn_sleeps_on_when_the_service_asks_to_wait_meanwhile():
    clock = HandClock()
    rate = RateLimiter(per_minute=60, clock=clock)
    rate.wait()
    advance = clock.sleep

    def throttled_meanwhile(seconds: float) -> None:
        clock.sleep = advance
        advance(seconds)
        rate.throttled(20)

    clock.sleep = throttled_meanwhile
    rate.wait()

    assert clock.now() == 121.0
