"""The way of a call: cache, budget, slot, tries, ledger, bill. The engine stands for a server that does as it is told."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import stamina

from datagen.clients.admission import Clock
from datagen.clients.billing import billing
from datagen.clients.cache import ReplyCache
from datagen.clients.chat import ChatReply, ChatRequest, Message, Sampling, Usage
from datagen.clients.ledger import Ledger
from datagen.clients.prices import PriceBook
from datagen.clients.retrying import Patience, wait_asked_for, with_retries
from datagen.clients.service import ChatService, Endpoint
from datagen.errors import (
    BudgetReachedError,
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    EndpointDownError,
    EndpointError,
    InvalidRequestError,
    OverloadedError,
    ReplayMissError,
    RetriesExhaustedError,
    ThrottledError,
)
from datagen.records.shipped import shipped_file

NO_WAITING = Patience(0, 0, 0)
USAGE = Usage(1_000, 500, 0)
COST = 0.0002 + 0.0004
"""Of that usage, at the fictional price of the model "practice"."""


class Server:
    """Answers with the last message; `faults` are raised first, one per try."""

    identity = "http://127.0.0.1/v1"

    def __init__(self, *faults: Exception, usage: Usage = USAGE) -> None:
        self.faults = list(faults)
        self.usage = usage
        self.tries: list[tuple[str, int]] = []
        self.guard = threading.Lock()

    def attempt(self, request: ChatRequest, key: str, *, prefer: int = 0) -> ChatReply:
        with self.guard:
            self.tries.append((key, prefer))
            if self.faults:
                raise self.faults.pop(0)
        return ChatReply(f"re: {request.messages[-1].content}", (), "stop", self.usage, "practice")


class Still(Clock):
    """Time that passes at once."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def now(self) -> float:
        return super().now() + self.skipped

    def sleep(self, seconds: float) -> None:
        self.skipped += seconds

    def wait(self, event: threading.Event, seconds: float | None) -> None:
        if seconds is None:
            assert event.wait(20), "nobody woke a thread that waited for a slot"
        else:
            self.skipped += seconds


@pytest.fixture
def open_service(tmp_path) -> Callable[..., ChatService]:
    def opened(server: Server, run: str = "run", **options) -> ChatService:
        endpoint = Endpoint("local", server, **options.pop("endpoint", {}))
        return ChatService(
            {"local": endpoint},
            ReplyCache(tmp_path / "cache", "chat"),
            Ledger(tmp_path / run / "ledger.sqlite"),
            PriceBook.load(shipped_file("prices.toml")),
            patience=NO_WAITING,
            clock=Still(),
            **options,
        )

    return opened


def asking(text: str = "hello", **options) -> ChatRequest:
    options = {"model": "practice", "sampling": Sampling(max_tokens=500)} | options
    return ChatRequest(messages=(Message("user", text),), **options)


def ask(service: ChatService, text: str = "hello", role: str = "solver", **options) -> ChatReply:
    return service.complete(asking(text, **options), endpoint="local", role=role)


def ledger_of(tmp_path, run: str = "run") -> Ledger:
    return Ledger(tmp_path / run / "ledger.sqlite")


def test_a_reply_is_paid_once_and_charged_to_every_bill_that_uses_it(open_service, tmp_path):
    server = Server()
    service = open_service(server)

    bills = []
    for _ in range(3):
        with billing() as bill:
            assert ask(service).text == "re: hello"
        bills.append(bill.spend())

    assert len(server.tries) == 1
    assert bills[0] == bills[1] == bills[2]
    assert (bills[0]["calls"], bills[0]["input_tokens"], bills[0]["cost_usd"]) == (1, 1_000, round(COST, 8))
    totals = ledger_of(tmp_path).totals()
    assert (totals.calls, totals.input_tokens, totals.output_tokens) == (1, 1_000, 500)
    assert totals.cost_usd == pytest.approx(COST)


def test_another_run_finds_the_reply_and_books_nothing(open_service, tmp_path):
    ask(open_service(Server()))
    other = Server()

    with billing() as bill:
        ask(open_service(other, run="another"))

    assert other.tries == []
    assert bill.spend()["calls"] == 1
    assert ledger_of(tmp_path, "another").totals().calls == 0


def test_threads_with_one_request_pay_once(open_service, tmp_path):
    server = Server()
    service = open_service(server)

    with ThreadPoolExecutor(64) as pool:
        said = list(pool.map(lambda number: ask(service, f"question {number % 4}").text, range(256)))

    assert len(server.tries) == 4
    assert said == [f"re: question {number % 4}" for number in range(256)]
    assert ledger_of(tmp_path).totals().calls == 4


def test_requests_that_differ_in_a_seed_are_paid_each(open_service):
    server = Server()
    service = open_service(server)

    for seed in (1, 2, 1):
        ask(service, sampling=Sampling(seed=seed))

    assert len(server.tries) == 2


@pytest.mark.parametrize("fault", [OverloadedError("503"), ConnectionLostError("reset"), ThrottledError("429", 0.0)])
def test_a_fault_that_may_pass_is_tried_again_with_the_same_key(open_service, tmp_path, fault):
    server = Server(fault, fault)

    assert ask(open_service(server)).text == "re: hello"

    assert len(server.tries) == 3
    assert len({key for key, _ in server.tries}) == 1
    assert ledger_of(tmp_path).totals().calls == 1


@pytest.mark.parametrize("fault", [InvalidRequestError("400"), CredentialsError("401")])
def test_a_fault_that_no_repetition_mends_passes_at_once(open_service, tmp_path, fault):
    server = Server(fault)

    with pytest.raises(type(fault)) as caught:
        ask(open_service(server))

    assert caught.value is fault
    assert len(server.tries) == 1
    assert ledger_of(tmp_path).totals().calls == 0


def test_a_call_that_fails_as_often_as_it_may_costs_its_record_and_is_not_kept(open_service, tmp_path):
    server = Server(*[OverloadedError(f"try {number}") for number in range(1, 4)])
    service = open_service(server, endpoint={"attempts": 3})

    with pytest.raises(RetriesExhaustedError) as caught, billing() as bill:
        ask(service)

    said = "the solver's call of practice at local failed 3 times, at last so: try 3"
    assert (str(caught.value), str(caught.value.__cause__)) == (said, "try 3")
    assert bill.spend()["calls"] == ledger_of(tmp_path).totals().calls == 0
    assert ask(service).text == "re: hello"


def test_the_type_of_a_fault_decides_and_the_server_says_how_long():
    assert wait_asked_for(ThrottledError("429", 7.5)) == 7.5
    assert wait_asked_for(ThrottledError("429")) is True
    assert wait_asked_for(OverloadedError("429 Too Many Requests")) is True
    assert wait_asked_for(InvalidRequestError("503, please retry")) is False
    assert wait_asked_for(TimeoutError("a programming error of ours")) is False


def test_tries_are_numbered_from_zero():
    seen = []

    def attempt(number: int) -> str:
        seen.append(number)
        if number < 2:
            raise OverloadedError("busy")
        return "done"

    assert with_retries(attempt, attempts=5, what="a call", patience=NO_WAITING) == "done"
    assert seen == [0, 1, 2]


@contextlib.contextmanager
def before_every_sleep(note: Callable[[], object]) -> Iterator[list[object]]:
    notes: list[object] = []
    stamina.instrumentation.set_on_retry_hooks([lambda _: notes.append(note())])
    try:
        yield notes
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)


def test_a_slot_is_free_while_a_call_waits_for_its_next_try(open_service):
    service = open_service(Server(OverloadedError("busy"), ThrottledError("wait", 0.0)), endpoint={"max_in_flight": 1})

    with before_every_sleep(lambda: service.standing()["local"]["in_flight"]) as in_flight:
        ask(service)

    assert in_flight == [0, 0]


def test_an_endpoint_that_is_down_ends_the_run_and_says_how_to_go_on(open_service, tmp_path):
    server = Server(*[ConnectionLostError("refused")] * 1_000)
    service = open_service(server, endpoint={"attempts": 6})

    def fate(number: int) -> EndpointError:
        try:
            ask(service, f"question {number}")
        except EndpointError as fault:
            return fault
        raise AssertionError("nobody answers")

    with ThreadPoolExecutor(8) as pool:
        faults = list(pool.map(fate, range(40)))

    assert {type(fault) for fault in faults} <= {RetriesExhaustedError, EndpointDownError}
    assert sum(isinstance(fault, EndpointDownError) for fault in faults) >= 30
    assert len(server.tries) < 60, "an endpoint that is down is left alone"
    assert str(faults[-1]).endswith(f"run `datagen resume {tmp_path / 'run'}`.")
    assert service.standing()["local"]["down"]


def test_a_server_that_asks_for_hours_ends_the_run_at_once(open_service):
    service = open_service(Server(ThrottledError("come back tomorrow", 86_400)))

    with pytest.raises(EndpointDownError, match="asks to wait 86,400 seconds"):
        ask(service)


def test_no_slot_is_lost_whatever_happens(open_service):
    faults = [OverloadedError("5xx"), ThrottledError("429"), InvalidRequestError("400"), ZeroDivisionError("ours")]
    service = open_service(Server(*faults * 10), endpoint={"attempts": 2, "max_in_flight": 3})

    def call(number: int) -> None:
        with contextlib.suppress(Exception):
            ask(service, f"question {number}")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(call, range(60)))

    standing = service.standing()["local"]
    assert (standing["in_flight"], standing["waiting"]) == (0, 0)


def test_a_budget_stops_before_the_call_that_could_pass_it_and_replies_already_paid_for_stay_free(
    open_service, tmp_path
):
    server = Server(usage=Usage(20, 500, 0))
    service = open_service(server, budget_usd=0.002)

    for number in range(4):
        ask(service, f"question {number}")
    with pytest.raises(BudgetReachedError, match=r"budget of \$0\.002 are spent.*--budget-usd 0\.004"):
        ask(service, "question 4")

    assert len(server.tries) == 4
    assert ledger_of(tmp_path).totals().cost_usd <= 0.002
    assert ask(service, "question 0").text == "re: question 0"
    resumed = open_service(server, budget_usd=0.004)
    assert ask(resumed, "question 4").text == "re: question 4"


def test_a_budget_holds_with_many_calls_in_flight(open_service, tmp_path):
    service = open_service(Server(usage=Usage(20, 300, 0)), budget_usd=0.01, endpoint={"start_in_flight": 64})

    def call(number: int) -> bool:
        try:
            ask(service, f"question {number}")
        except BudgetReachedError:
            return False
        return True

    with ThreadPoolExecutor(64) as pool:
        done = list(pool.map(call, range(200)))

    spent = ledger_of(tmp_path).totals()
    assert 0.0090 < spent.cost_usd <= 0.01
    assert spent.calls == sum(done)


def test_with_a_budget_a_call_that_could_cost_any_sum_is_refused(open_service):
    server = Server()
    service = open_service(server, budget_usd=1.0)

    with pytest.raises(ConfigError, match="max_tokens"):
        ask(service, sampling=Sampling())
    with pytest.raises(ConfigError, match="needs a price"):
        ask(service, model="stranger")
    assert server.tries == []


def test_what_the_server_did_not_count_is_null_on_the_bill(open_service, tmp_path):
    with billing() as bill:
        ask(open_service(Server(usage=Usage())))

    assert (bill.spend()["calls"], bill.spend()["input_tokens"], bill.spend()["cost_usd"]) == (1, None, None)
    totals = ledger_of(tmp_path).totals()
    assert (totals.input_tokens, totals.cost_usd, totals.unpriced_calls) == (None, None, 1)


def test_offline_the_cache_answers_and_what_it_lacks_is_an_error(open_service):
    ask(open_service(Server()))
    server = Server()
    offline = open_service(server, offline=True)

    assert ask(offline).text == "re: hello"
    with pytest.raises(ReplayMissError, match=r"the solver's call of practice at local was ever received"):
        ask(offline, "something new")
    assert server.tries == []


def test_a_reply_whose_process_died_before_it_was_booked_is_booked_when_it_is_found(open_service, tmp_path):
    ask(open_service(Server()))
    path = tmp_path / "run" / "ledger.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM calls")
        connection.execute("DELETE FROM accounts")
    server = Server()

    ask(open_service(server))

    assert server.tries == []
    assert (Ledger(path).totals().calls, Ledger(path).totals().output_tokens) == (1, 500)


def test_turns_of_a_conversation_prefer_one_replica_and_a_further_try_another(open_service):
    server = Server(OverloadedError("busy"))
    service = open_service(server, endpoint={"replicas": 2})
    first = (Message("system", "You search."), Message("user", "Who?"))

    for turns in (first, (*first, Message("assistant", "Hm."), Message("user", "Go on."))):
        service.complete(ChatRequest("practice", turns), endpoint="local", role="solver")

    (_, one), (_, other), (_, later) = server.tries
    assert other == one + 1
    assert later == one


def test_a_fixed_rate_spaces_the_calls_of_an_endpoint(tmp_path):
    clock, times = Still(), []

    class Timed(Server):
        def attempt(self, request, key, *, prefer=0):
            times.append(clock.skipped)
            return super().attempt(request, key, prefer=prefer)

    service = ChatService(
        {"local": Endpoint("local", Timed(), requests_per_minute=6)},
        ReplyCache(tmp_path, "chat"),
        Ledger(tmp_path / "ledger.sqlite"),
        PriceBook("2025-06-01", "a test", {}),
        clock=clock,
    )

    for number in range(4):
        ask(service, f"question {number}")

    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(gap == pytest.approx(10, abs=1) for gap in gaps)


def test_an_endpoint_that_is_not_there_is_named(open_service):
    with pytest.raises(ConfigError, match="no endpoint is called 'remote'; there is local"):
        open_service(Server()).complete(asking(), endpoint="remote", role="solver")


def test_half_a_character_in_a_reply_does_not_break_the_next_turn(open_service):
    class Cutting(Server):
        def attempt(self, request, key, *, prefer=0):
            return dataclasses.replace(super().attempt(request, key, prefer=prefer), text="so \ud83d")

    service = open_service(Cutting())
    said = ask(service)

    again = service.complete(
        ChatRequest("practice", (*asking().messages, said.as_message())), endpoint="local", role="solver"
    )

    assert said.text == "so \ufffd"
    assert again.text == "so \ufffd"
    assert ask(service) == said


WORKER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from datagen.clients.cache import ReplyCache
from datagen.clients.chat import ChatReply, ChatRequest, Message, Usage
from datagen.clients.ledger import Ledger
from datagen.clients.prices import PriceBook
from datagen.clients.service import ChatService, Endpoint

folder = Path(sys.argv[1])
answered = open(folder / "server.log", "a", buffering=1)

class Server:
    identity = "server"
    def attempt(self, request, key, *, prefer=0):
        answered.write(f"answered {key}\\n")
        return ChatReply("x" * 300, (), "stop", Usage(3, 5), "practice")

service = ChatService({"e": Endpoint("e", Server())}, ReplyCache(folder, "chat"), Ledger(folder / "ledger.sqlite"),
                      PriceBook("", "", {}))

def call(number):
    request = ChatRequest("practice", (Message("user", f"question {number}"),))
    service.complete(request, endpoint="e", role="solver")
    answered.write(f"used {request.key('server')}\\n")

with ThreadPoolExecutor(8) as pool:
    list(pool.map(call, range(400)))
print("finished")
"""


def test_after_kill_9_nothing_that_was_used_is_asked_again_and_the_ledger_counts_every_call_once(tmp_path):
    log = tmp_path / "server.log"
    log.touch()
    for stop_after in (40, 200, 500, None):
        with subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], stdout=subprocess.PIPE) as worker:
            while stop_after is not None and worker.poll() is None and log.read_text().count("\n") < stop_after:
                pass
            if stop_after is not None:
                worker.kill()
            worker.wait()

    used, answered, asked_again = set(), set(), []
    for line in log.read_text().splitlines():
        what, _, key = line.partition(" ")
        if what == "used":
            used.add(key)
        else:
            answered.add(key)
            asked_again += [key] if key in used else []
    totals = ledger_of(tmp_path, ".").totals()

    assert asked_again == []
    assert len(used) == len(answered) == totals.calls == 400
    assert (totals.input_tokens, totals.output_tokens) == (1_200, 2_000)
