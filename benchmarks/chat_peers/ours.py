"""This project's client at the job of `job.py`: a thread per record under way, cache and ledger cold and on."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import job
from pydantic import BaseModel

from datagen.clients.billing import billing
from datagen.clients.cache import ReplyCache
from datagen.clients.chat import ChatRequest, Message, ModelSpec, Sampling
from datagen.clients.ledger import Ledger
from datagen.clients.openai_chat import OpenAIEngine
from datagen.clients.prices import PriceBook
from datagen.clients.service import ChatService, Endpoint
from datagen.clients.structured import ask
from datagen.errors import RetriesExhaustedError, UnusableReplyError

PRICES = Path(__file__).parents[2] / "data" / "prices.toml"
UNDER_WAY = 2
"""Records per slot: a record that waits for its next try leaves its slot to another one."""


class Form(BaseModel):
    words: int
    code: str
    summary: str


def service(url: str, slots: int, scratch: Path, **more: Any) -> ChatService:
    endpoint = Endpoint("practice", OpenAIEngine([url]), max_in_flight=slots, **more)
    return ChatService(
        {"practice": endpoint}, ReplyCache(scratch, "chat"), Ledger(scratch / "ledger.sqlite"), PriceBook.load(PRICES)
    )


def record(client: ChatService, number: int) -> dict[str, Any]:
    """Both calls of one record; what could not be had is left out."""
    row: dict[str, Any] = {"subject": job.subject(number)}
    system = Message("system", job.SYSTEM)
    sampling = Sampling(temperature=job.TEMPERATURE, max_tokens=job.MAX_TOKENS, seed=number)
    model = ModelSpec("m1", "practice", job.MODEL, sampling)
    note = Message("user", job.NOTE.format(subject=row["subject"]))
    try:
        with billing():
            request = ChatRequest(job.MODEL, (system, note), sampling=sampling)
            reply = client.complete(request, endpoint="practice", role="writer")
            row["note"] = reply.text
            wanted = [system, Message("user", job.FORM.format(note=reply.text))]
            asked = ask(client, model, wanted, role="clerk", name="form", schema=Form, seed=number)
    except (RetriesExhaustedError, UnusableReplyError):
        return row
    return row | asked.value.model_dump()


def in_threads(count: int, work: Any) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    given = job.options()
    client = service(given.url, given.slots, given.scratch)
    numbers, rows = itertools.count(), []  # next() of a count is one step under the interpreter's lock

    def work() -> None:
        while (number := next(numbers)) < given.records:
            rows.append(record(client, number))

    in_threads(UNDER_WAY * given.slots, work)
    job.write(given.out, rows)


if __name__ == "__main__":
    main()
