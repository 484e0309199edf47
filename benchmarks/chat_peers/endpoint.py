"""The practice endpoint as its own process, with the mind of the job in `job.py` or one that says the same to everybody.

    python benchmarks/chat_peers/endpoint.py --latency 0.3 --faults 0.1

Prints its address. The shares of faults are of all requests: a fifth each of 429 with Retry-After, 5xx, reset, cut-off
body, and JSON that ends too early. The last one is this mind's doing, not the server's, because generators ask for JSON
in different ways (a response format, a tool, words in the prompt) and all of them have to meet it equally often.
"""

from __future__ import annotations

import argparse
import re
import threading
from collections import Counter
from hashlib import sha256

import job
import orjson

from datagen.practice.canned import CannedMind
from datagen.practice.knobs import Fault, Knobs, Latency
from datagen.practice.server import PracticeServer, serve
from datagen.practice.wire import WireReply, WireRequest

TRANSPORT = (Fault.THROTTLE_WAIT, Fault.SERVER_ERROR, Fault.RESET, Fault.TRUNCATED)
CANNED = "A reply of the usual length, which says nothing in particular about anything. " * 4
_PROBE = re.compile(r"(\w+) is (\d+) years old")
"""What Bespoke curator asks an endpoint to see whether it can fill in a schema."""


class Clerk:
    """Says `job.note_of` and `job.form_of`, the form in the way in which it is asked for."""

    def __init__(self, malformed: float) -> None:
        self._malformed = malformed
        self._answered: Counter[str] = Counter()
        self._lock = threading.Lock()

    def answer(self, request: WireRequest) -> WireReply:
        text = "\n".join(message.content for message in request.messages if message.role == "user")
        if (probe := _PROBE.search(text)) is not None:
            return WireReply(orjson.dumps({"name": probe[1], "age": int(probe[2])}).decode())
        subject, note = job.asked_for(text)
        if note is None:
            if "Fill in the form" not in text:
                return WireReply(job.note_of(subject))
            note = ""  # who has no note and asks all the same gets a form, as from a model
        form, share = job.form_of(note), self._broken_off(note)
        if request.tool_names:
            # A tool's arguments are written by the server from an object, so they can only lack what was not said.
            return WireReply(tool_calls=((request.tool_names[0], _first_half(form) if share else form),))
        told = orjson.dumps(form).decode()
        if share:
            told = told[: int(len(told) * share)]
        return WireReply(told if request.body.get("response_format") else f"```json\n{told}\n```")

    def _broken_off(self, note: str) -> float:
        """At which part of its length this reply ends, 0 if it is whole: by the note and how often it was answered."""
        with self._lock:
            times = self._answered[note]
            self._answered[note] += 1
        drawn = sha256(f"{times}/{note}".encode()).digest()
        strikes = int.from_bytes(drawn[:8], "big") < self._malformed * 2**64
        return 0.3 + 0.6 * drawn[8] / 256 if strikes else 0.0


def _first_half(form: dict[str, object]) -> dict[str, object]:
    return {key: form[key] for key in list(form)[:2]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--faults", type=float, default=0.0, help="share of all requests that a fault strikes")
    parser.add_argument("--retry-after", type=float, default=0.25)
    parser.add_argument("--at-once", type=int, help="requests that are borne; the next one gets 429")
    parser.add_argument("--canned", action="store_true")
    given = parser.parse_args()
    each = given.faults / (len(TRANSPORT) + 1)
    more = {"latency": Latency("fixed", given.latency), "at_once": given.at_once, "retry_after": given.retry_after}
    knobs = Knobs.each(each, *TRANSPORT, seed=7, **more)
    # Half of the requests ask for a form, and some of those meet another fault first.
    mind = CannedMind(CANNED) if given.canned else Clerk(2 * each / (1 - 4 * each))
    server = PracticeServer(mind, knobs=knobs)
    serve(server, lambda: print(server.url, flush=True))


if __name__ == "__main__":
    main()
