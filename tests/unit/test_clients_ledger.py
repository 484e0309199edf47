"""What was paid: each call once, to the token, and never past the budget."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.clients.chat import ChatRequest, Message, ReplySchema, Sampling, Tool, ToolCall, Usage
from datagen.clients.ledger import Ledger, holder_of
from datagen.clients.prices import PriceBook, require_prices
from datagen.errors import BudgetReachedError, ConfigError
from datagen.records.shipped import shipped_file

USAGE = Usage(1000, 100, 0)


def pay(ledger, key, cost_usd=0.01, role="solver", model="m", usage=USAGE, held=None):
    return ledger.paid(key, role=role, model=model, endpoint="e", usage=usage, cost_usd=cost_usd, held=held)


calls = st.lists(
    st.tuples(
        st.sampled_from([f"k{i}" for i in range(12)]),
        st.sampled_from(["solver", "judge", "guesser"]),
        st.sampled_from(["m1", "m2"]),
        st.builds(Usage, st.none() | st.integers(0, 9999), st.integers(0, 9999), st.none()),
        st.none() | st.integers(0, 10**7).map(lambda millionths: millionths / 1e6),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=40)
@given(calls)
def test_totals_are_the_sums_of_calls_each_counted_once(tmp_path_factory, calls):
    ledger = Ledger(tmp_path_factory.mktemp("run") / "ledger.sqlite")
    first = {}

    for key, role, model, usage, cost in calls:
        assert pay(ledger, key, cost, role, model, usage) == (key not in first)
        first.setdefault(key, (role, usage, cost))
    totals = ledger.totals()
    ledger.close()

    for prefix, booked in (
        ("", [c for c in first.values() if c[0] != "judge"]),
        ("judge_", [c for c in first.values() if c[0] == "judge"]),
    ):
        read = [usage.input_tokens for _, usage, _ in booked]
        costs = [cost for _, _, cost in booked]
        sent = getattr(totals, f"{prefix}input_tokens")
        cost_usd = getattr(totals, f"{prefix}cost_usd")
        assert getattr(totals, f"{prefix}calls") == len(booked)
        assert sent == (None if None in read or any(u.output_tokens is None for _, u, _ in booked) else sum(read))
        assert (cost_usd is None) == (None in costs)
        assert cost_usd is None or cost_usd == pytest.approx(sum(costs), abs=1e-11)
    assert totals.unpriced_calls == sum(cost is None for _, _, cost in first.values())
    assert sum(row.calls for row in totals.rows) == len(first)


def test_totals_go_on_after_the_ledger_was_closed(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    pay(ledger, "a", 0.25)
    name = ledger.identity
    ledger.close()

    again = Ledger(tmp_path / "ledger.sqlite")
    pay(again, "a", 0.25)
    pay(again, "b", 0.5)

    assert again.identity == name
    assert again.totals().cost_usd == 0.75
    assert (again.has("a"), again.has("c")) == (True, False)


def test_money_does_not_depend_on_the_order_of_calls(tmp_path):
    costs = [0.1, 0.2, 0.3, 1e-9, 7.7, 0.000123456789]
    sums = set()
    for turn, order in enumerate([costs, costs[::-1], sorted(costs)]):
        ledger = Ledger(tmp_path / str(turn) / "ledger.sqlite")
        for cost in order:
            pay(ledger, str(cost), cost)
        sums.add(ledger.totals().cost_usd)

    assert len(sums) == 1


def test_judges_are_kept_apart(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    pay(ledger, "a", 0.25)
    pay(ledger, "b", 0.5, role="judge", usage=Usage(10, 1))

    totals = ledger.totals()

    assert (totals.calls, totals.cost_usd, totals.input_tokens) == (1, 0.25, 1000)
    assert (totals.judge_calls, totals.judge_cost_usd, totals.judge_input_tokens) == (1, 0.5, 10)


def test_a_call_without_a_cost_makes_the_sum_unknown_but_not_what_is_known(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    pay(ledger, "a", 0.25)
    pay(ledger, "b", None)

    totals = ledger.totals()

    assert (totals.cost_usd, totals.known_cost_usd, totals.unpriced_calls) == (None, 0.25, 1)


def test_a_budget_ends_the_run_with_a_sentence_that_says_how_to_go_on(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with ledger.reserve(0.4, budget_usd=1.0) as held:
        pay(ledger, "a", 0.75, held=held)

    with (
        pytest.raises(BudgetReachedError) as caught,
        ledger.reserve(0.4, budget_usd=1.0),
    ):
        pass

    assert str(caught.value) == (
        "$0.75 of the budget of $1 are spent, and the next call may cost $0.4. Everything made so far is kept; go on "
        f"with `datagen resume {tmp_path} --budget-usd 2`."
    )
    assert caught.value.exit_code == 4
    with ledger.reserve(0.25, budget_usd=1.0):
        pass  # what still fits may be spent
    with ledger.reserve(0.4, budget_usd=2.0):
        pass


@pytest.mark.parametrize("threads", [1, 64])
def test_a_budget_is_never_passed_however_many_calls_are_in_flight(tmp_path, threads):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    guard, open_usd, worst = threading.Lock(), [0.0], [0.0]

    def call(number: int) -> bool:
        cost = 0.01 + (number % 7) / 1000
        try:
            with ledger.reserve(0.02, budget_usd=1.0) as held:
                with guard:
                    open_usd[0] += cost
                    worst[0] = max(worst[0], open_usd[0])
                pay(ledger, str(number), cost, held=held)
        except BudgetReachedError:
            return False
        return True

    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(call, range(150)))

    assert worst[0] <= 1.0
    assert 0.98 < ledger.totals().cost_usd <= 1.0, "the budget is used up to less than one call"
    assert not all(done)


def test_a_call_that_fits_only_when_others_are_cheaper_than_reserved_waits_for_them(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    granted = threading.Event()

    def second() -> None:
        with ledger.reserve(0.8, budget_usd=1.0):
            granted.set()

    with ledger.reserve(0.8, budget_usd=1.0) as held:
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not granted.wait(0.05)
        pay(ledger, "a", 0.1, held=held)
        assert granted.wait(20)
    waiting.join()


def test_a_reservation_ends_when_its_call_fails(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")

    for _ in range(5):
        with pytest.raises(ZeroDivisionError), ledger.reserve(0.9, budget_usd=1.0):
            raise ZeroDivisionError

    with ledger.reserve(0.9, budget_usd=1.0):
        pass


def test_a_call_whose_cost_nobody_told_counts_in_full_against_the_budget(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with ledger.reserve(0.6, budget_usd=1.0) as held:
        pay(ledger, "a", None, usage=Usage(), held=held)

    with pytest.raises(BudgetReachedError), ledger.reserve(0.6, budget_usd=1.0):
        pass


HOLDER = """
import sys, time
from pathlib import Path
from datagen.clients.ledger import Ledger
with Ledger(Path(sys.argv[1])).reserve(0.9, budget_usd=1.0):
    print("held", flush=True)
    time.sleep(600)
"""


def test_what_a_dead_process_had_reserved_does_not_count_and_what_a_living_one_has_does(tmp_path):
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    granted = threading.Event()

    def wait_for_room() -> None:
        with ledger.reserve(0.9, budget_usd=1.0):
            granted.set()

    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        waiting = threading.Thread(target=wait_for_room)
        waiting.start()
        assert not granted.wait(0.7)
        other.kill()
        other.wait()
        assert granted.wait(20)
    waiting.join()


SPENDER = """
import sys
from pathlib import Path
from datagen.clients.chat import Usage
from datagen.clients.ledger import Ledger
from datagen.errors import BudgetReachedError
ledger = Ledger(Path(sys.argv[1]))
for number in range(100):
    try:
        with ledger.reserve(0.01, budget_usd=1.0) as held:
            ledger.paid(f"{sys.argv[2]}-{number}", role="solver", model="m", endpoint="e", usage=Usage(1, 1),
                        cost_usd=0.008, held=held)
    except BudgetReachedError:
        break
"""


def test_several_processes_share_a_budget(tmp_path):
    path = tmp_path / "ledger.sqlite"

    spenders = [subprocess.Popen([sys.executable, "-c", SPENDER, str(path), str(n)]) for n in range(3)]

    assert [spender.wait(60) for spender in spenders] == [0] * 3
    assert Ledger(path).totals().cost_usd == pytest.approx(0.992)


def test_a_process_is_known_by_more_than_its_number():
    here = holder_of(os.getpid())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert here == holder_of(os.getpid())
    assert f":{os.getpid()}:" in here
    assert holder_of(ended.pid) is None


BOOK = """
as_of = 2025-06-01
[models.paid]
input = 2.0
cached_input = 0.5
output = 8.0
source = "a test"
[models.own]
input = 0
output = 0
source = "our own machine"
"""


@pytest.fixture
def book(tmp_path):
    (tmp_path / "prices.toml").write_text(BOOK)
    return PriceBook.load(tmp_path / "prices.toml")


def test_a_cost_comes_from_the_price_of_each_kind_of_token(book):
    assert book.cost("paid", Usage(1_000_000, 500_000, 400_000)) == pytest.approx(1.2 + 0.2 + 4.0)
    assert book.cost("paid", Usage(1_000_000, 0, None)) == 2.0


def test_a_cost_is_unknown_without_a_price_or_a_count(book):
    assert book.cost("stranger", Usage(1, 1, 0)) is None
    assert book.cost("paid", Usage(None, 5)) is None
    assert book.cost("paid", Usage(5, None)) is None


def test_a_model_on_ones_own_machine_is_free_if_the_file_says_so(book):
    assert book.cost("own", Usage(5, 5)) == 0.0
    assert book.cost("own", Usage()) == 0.0
    assert book.upper_bound(ChatRequest("own", (Message("user", "hello"),))) == 0.0


words = st.text(max_size=30)


@given(st.lists(words, min_size=1, max_size=5), words, st.integers(1, 5000))
def test_no_reply_costs_more_than_the_upper_bound_of_its_request(tmp_path_factory, texts, name, most):
    path = tmp_path_factory.mktemp("prices") / "prices.toml"
    path.write_text(BOOK)
    book = PriceBook.load(path)
    messages = tuple(Message("user", text, (ToolCall("1", name, text),)) for text in texts)
    tool = Tool(name, name, {"type": "object", "description": name})
    request = ChatRequest("paid", messages, (tool,), schema=ReplySchema(name, {}), sampling=Sampling(max_tokens=most))
    told = [*texts * 2, name * (3 + len(texts))]

    read = sum(len(text.encode()) for text in told)  # as many tokens as there are bytes

    assert book.cost("paid", Usage(read, most, 0)) <= book.upper_bound(request)


def test_a_reply_without_a_limit_has_no_upper_bound(book):
    messages = (Message("user", "hello"),)

    assert book.upper_bound(ChatRequest("paid", messages)) is None
    assert book.upper_bound(ChatRequest("stranger", messages, sampling=Sampling(max_tokens=5))) is None
    limited = Sampling(extra={"max_completion_tokens": 1000})
    assert book.upper_bound(ChatRequest("paid", messages, sampling=limited)) == pytest.approx(0.008, abs=2e-4)


def test_a_budget_needs_a_price_for_every_model(book):
    require_prices(book, ["paid", "own"])

    with pytest.raises(ConfigError, match=r"no price for stranger.*cast\.prices"):
        require_prices(book, ["paid", "stranger"])


def test_the_shipped_prices_are_dated_and_name_their_sources():
    book = PriceBook.load(shipped_file("prices.toml"))

    assert book.as_of
    assert all(price.source for price in book.prices.values())
    assert book.prices["practice"].source.startswith("fictional")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("as_of = ", "is not TOML"),
        ("", "needs the day"),
        ('as_of = "yesterday"', "needs the day"),
        ("as_of = 2025-06-01\n[models.m]\ninput = 1.0", "needs input, output and source"),
        ('as_of = 2025-06-01\n[models.m]\ninput = -1.0\noutput = 1\nsource = "s"', "not USD per million"),
        ('as_of = 2025-06-01\n[models.m]\ninput = nan\noutput = 1\nsource = "s"', "not USD per million"),
        ('as_of = 2025-06-01\n[models.m]\ninput = 1\noutput = 1\nsource = "s"\nimput = 3', "needs input"),
    ],
)
def test_a_price_file_that_says_something_else_is_refused(tmp_path, text, sentence):
    path = tmp_path / "prices.toml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=sentence):
        PriceBook.load(path)
