"""What a run really paid: each call once, however often the run was stopped and resumed, by however many processes.

The ledger lives in the run directory. A call is booked under its request's key, so booking it again changes nothing, and
the totals of a resumed run go on where they were. Money is held in whole trillionths of a dollar: sums do not depend
on the order in which calls ended.

**The budget is never passed.** Before a call is sent, the most it can cost is reserved; a reservation is granted only
while spent + reserved + this one stay within the budget, in one transaction that no other process can enter. When the
reply is booked its reservation goes with it. A call that does not fit now, but may when others turn out cheaper than
reserved, waits for them; one that cannot fit ends the run. Reservations of processes that died do not count.

    with ledger.reserve(0.02, budget_usd=5) as held:
        reply = ask()
        ledger.paid(key, role=role, model=model, endpoint=endpoint, usage=usage, cost_usd=cost, held=held)
"""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from datagen.clients.billing import JUDGING_ROLES
from datagen.clients.chat import Usage
from datagen.clients.database import Database
from datagen.errors import BudgetReachedError

FORMAT = 1
UNITS = 1_000_000_000_000
"""Of a dollar."""
RECHECK_SECONDS = 0.5
"""How often a call that waits for room in the budget looks whether another process has left some."""
SCHEMA = (
    "CREATE TABLE identity (name TEXT NOT NULL)",
    """
    CREATE TABLE calls (
        key TEXT PRIMARY KEY, role TEXT NOT NULL, model TEXT NOT NULL, endpoint TEXT NOT NULL, input_tokens INTEGER,
        output_tokens INTEGER, cached_input_tokens INTEGER, cost INTEGER, at_most INTEGER NOT NULL, reservation INTEGER
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE accounts (
        role TEXT NOT NULL, model TEXT NOT NULL, calls INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL, cost INTEGER NOT NULL, uncounted INTEGER NOT NULL, unpriced INTEGER NOT NULL,
        at_most INTEGER NOT NULL, PRIMARY KEY (role, model)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE reserved (id INTEGER PRIMARY KEY, holder TEXT NOT NULL, amount INTEGER NOT NULL)",
    # A call, its account and the end of its reservation are one statement, and so one step.
    """
    CREATE TRIGGER booked AFTER INSERT ON calls BEGIN
        INSERT INTO accounts SELECT NEW.role, NEW.model, 0, 0, 0, 0, 0, 0, 0
            WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE role = NEW.role AND model = NEW.model);
        UPDATE accounts SET calls = calls + 1, input_tokens = input_tokens + COALESCE(NEW.input_tokens, 0),
            output_tokens = output_tokens + COALESCE(NEW.output_tokens, 0), cost = cost + COALESCE(NEW.cost, 0),
            uncounted = uncounted + (NEW.input_tokens IS NULL OR NEW.output_tokens IS NULL),
            unpriced = unpriced + (NEW.cost IS NULL), at_most = at_most + NEW.at_most
            WHERE role = NEW.role AND model = NEW.model;
        DELETE FROM reserved WHERE id = NEW.reservation;
    END
    """,
)
_BOOK = "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_SPENT = "(SELECT COALESCE(SUM(at_most), 0) FROM accounts)"
_RESERVED = "(SELECT COALESCE(SUM(amount), 0) FROM reserved)"
_RESERVE = f"INSERT INTO reserved SELECT NULL, ?, ? WHERE {_SPENT} + {_RESERVED} + ? <= ?"
_ADVICE = "Make room on that disk, or start a new run directory; replies that were paid for are in the cache."


@dataclass(frozen=True, slots=True)
class Spent:
    """Calls, tokens and money; None where at least one reply lacks the number."""

    role: str
    model: str
    calls: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    known_cost_usd: float
    """Of the calls whose cost is known."""
    unpriced_calls: int


@dataclass(frozen=True, slots=True)
class LedgerTotals:
    """The run so far. Judges are not in the first figures but in the `judge_` ones."""

    calls: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    judge_calls: int
    judge_input_tokens: int | None
    judge_output_tokens: int | None
    judge_cost_usd: float | None
    unpriced_calls: int
    """Of both."""
    known_cost_usd: float
    """Of both: what is spent at least."""
    rows: tuple[Spent, ...]
    """By role and model, sorted."""


@dataclass(slots=True)
class Reservation:
    """Money set aside for one call, in units; `id` is None once it is no longer set aside."""

    id: int | None
    amount: int


class Ledger:
    """The accounts of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(path, SCHEMA, version=FORMAT, advice=_ADVICE)
        self._room = threading.Condition()
        self.identity = self._name()

    def paid(
        self,
        key: str,
        *,
        role: str,
        model: str,
        endpoint: str,
        usage: Usage,
        cost_usd: float | None,
        held: Reservation | None = None,
    ) -> bool:
        """Book a call and end its reservation; False where it had been booked before."""
        cost = None if cost_usd is None else round(cost_usd * UNITS)
        aside = Reservation(None, 0) if held is None else held
        at_most = aside.amount if cost is None else cost  # what nobody told counts in full against the budget
        tokens = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens)
        row = (key, role, model, endpoint, *tokens, cost, at_most, aside.id)
        booked = self._database.insert(_BOOK, row) is not None
        if booked and aside.id is not None:
            aside.id = None
            self._wake()
        return booked

    def has(self, key: str) -> bool:
        """Whether a call is booked."""
        return bool(self._database.read("SELECT 1 FROM calls WHERE key = ?", (key,)))

    @contextmanager
    def reserve(self, usd: float, *, budget_usd: float | None) -> Iterator[Reservation]:
        """Set money aside for the block. Raises `BudgetReachedError` where the budget has no room for it any more."""
        if budget_usd is None or usd == 0:
            yield Reservation(None, 0)
            return
        held = Reservation(None, math.ceil(usd * UNITS))
        self._await_room(held, round(budget_usd * UNITS))
        try:
            yield held
        finally:
            if held.id is not None:
                self._database.commit(partial(_release, held=held.id))
                held.id = None
                self._wake()

    def totals(self) -> LedgerTotals:
        found = self._database.read("SELECT * FROM accounts ORDER BY role, model")
        rows = [(role, model, *numbers) for role, model, *numbers in found]
        making = _sum("", "", [row for row in rows if row[0] not in JUDGING_ROLES])
        judging = _sum("", "", [row for row in rows if row[0] in JUDGING_ROLES])
        return LedgerTotals(
            calls=making.calls,
            input_tokens=making.input_tokens,
            output_tokens=making.output_tokens,
            cost_usd=making.cost_usd,
            judge_calls=judging.calls,
            judge_input_tokens=judging.input_tokens,
            judge_output_tokens=judging.output_tokens,
            judge_cost_usd=judging.cost_usd,
            unpriced_calls=making.unpriced_calls + judging.unpriced_calls,
            known_cost_usd=sum(row[5] for row in rows) / UNITS,
            rows=tuple(_sum(row[0], row[1], [row]) for row in rows),
        )

    def close(self) -> None:
        self._database.close()

    def _name(self) -> str:
        """Tells this ledger from every other: a cached reply says which run paid for it."""
        fresh = uuid.uuid4().hex
        return str(self._database.commit(partial(_named, fresh=fresh)))

    def _await_room(self, held: Reservation, budget: int) -> None:
        row = (_this_process(os.getpid()), held.amount, held.amount, budget)
        while True:
            held.id = self._database.insert(_RESERVE, row)
            if held.id is not None:
                return
            spent = self._database.commit(_spent_and_nothing_held_by_the_dead)
            if spent + held.amount > budget:
                raise self._reached(spent, held.amount, budget)
            with self._room:
                self._room.wait(RECHECK_SECONDS)

    def _wake(self) -> None:
        with self._room:
            self._room.notify_all()

    def _reached(self, spent: int, amount: int, budget: int) -> BudgetReachedError:
        return BudgetReachedError(
            f"{_dollars(spent)} of the budget of {_dollars(budget)} are spent, and the next call may cost "
            f"{_dollars(amount)}. Everything made so far is kept; go on with "
            f"`datagen resume {self.path.parent} --budget-usd {_dollars(2 * budget)[1:]}`."
        )


def _dollars(units: int) -> str:
    return f"${units / UNITS:.6f}".rstrip("0").rstrip(".")


def holder_of(process: int) -> str | None:
    """Names a process so that no later one is taken for it: by boot, number and start. None if there is none."""
    try:
        # The name of the program, in parentheses, may hold spaces; what follows it does not.
        started = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return _holder_without_proc(process)
    return None if started[0] == "Z" else f"{_boot()}:{process}:{started[19]}"


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "-"


@lru_cache(maxsize=2)
def _this_process(process: int) -> str:
    """Kept by number, because a fork is another process."""
    return holder_of(process) or f"-:{process}:-"


def _holder_without_proc(process: int) -> str | None:
    """Where there is no /proc, a number that was given to another process in the meantime looks alive."""
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return f"-:{process}:-"


def _named(connection: sqlite3.Connection, fresh: str) -> str:
    row = connection.execute("SELECT name FROM identity").fetchone()
    if row is None:
        connection.execute("INSERT INTO identity VALUES (?)", (fresh,))
    return fresh if row is None else str(row[0])


def _spent_and_nothing_held_by_the_dead(connection: sqlite3.Connection) -> int:
    """Forgets reservations of processes that are gone, and says what is spent; unknown costs count in full."""
    for (holder,) in connection.execute("SELECT DISTINCT holder FROM reserved").fetchall():
        if holder_of(int(holder.split(":")[1])) != holder:
            connection.execute("DELETE FROM reserved WHERE holder = ?", (holder,))
    return int(connection.execute(f"SELECT {_SPENT}").fetchone()[0])


def _release(connection: sqlite3.Connection, held: int) -> None:
    connection.execute("DELETE FROM reserved WHERE id = ?", (held,))


def _sum(role: str, model: str, rows: list[tuple[Any, ...]]) -> Spent:
    calls, read, written, cost, uncounted, unpriced = (sum(row[i] for row in rows) for i in range(2, 8))
    return Spent(
        role=role,
        model=model,
        calls=calls,
        input_tokens=None if uncounted else read,
        output_tokens=None if uncounted else written,
        cost_usd=None if unpriced else cost / UNITS,
        known_cost_usd=cost / UNITS,
        unpriced_calls=unpriced,
    )
