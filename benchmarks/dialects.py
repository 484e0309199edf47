"""Renderings of attempts, back and forth, beside a JSON round trip of the same rows.

    python -m benchmarks dialects --attempts out/demo/release/data/trajectories/train-00000-of-00001.parquet

Without attempts of a release, made-up ones of the same size. One process. The peer is what any exporter does at least: the events of an attempt as JSON text, and back.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from datagen.records.trajectory import Event
from datagen.records.trajectory_rows import event_to_row, row_to_event
from datagen.rollouts.chat_template import ChatTemplate
from datagen.rollouts.dialects import DIALECTS
from datagen.rollouts.masks import token_mask

TEMPLATE = """{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% for c in m.tool_calls or [] %}
<tool_call>
{{ c.function | tojson }}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
CHARS_PER_TOKEN = 4

Attempt = tuple[str, tuple[Event, ...]]


def attempts(path: Path, limit: int) -> list[Attempt]:
    rows = pq.read_table(path, columns=["question", "events"]).slice(0, limit).to_pylist()
    return [(row["question"], tuple(map(row_to_event, row["events"]))) for row in rows]


def made_up(count: int) -> list[Attempt]:
    """Attempts of twelve turns, with two visits each."""
    page = "Harlan Rovers play in the stadium, which opened in 1901, and in no other. " * 35
    links = [[k * 70, k * 70 + 13, f"https://atlas.example/{k}"] for k in range(20)]
    window = {"url": "https://atlas.example/x", "title": "Clubs", "text": page, "links": links, "next_offset": None}
    result = orjson.dumps(window).decode()
    log: list[Event] = []
    for turn in range(12):
        log.append(Event(turn, "thought", "The list should name it; I read it and the page about the stadium."))
        ids = [f"c{turn:04d}{k:04d}" for k in range(2)]
        log += [
            Event(turn, "call", call_id=i, tool="visit", arguments='{"url":"https://atlas.example/x"}') for i in ids
        ]
        log += [Event(turn, "result", result, call_id=i, tool="visit") for i in ids]
    log.append(Event(12, "answer", "Harlan Rovers"))
    return [("Which club is it?", tuple(log))] * count


def rate(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Items per second of processor time, the best of three."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for item in items:
            work(item)
        best = min(best, time.process_time() - started)
    return len(items) / best


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--attempts", type=Path)
    parser.add_argument("--limit", type=int, default=300)
    given = parser.parse_args(arguments)
    logs = attempts(given.attempts, given.limit) if given.attempts else made_up(given.limit)
    events = sum(len(log) for _, log in logs) / len(logs)
    as_json = [orjson.dumps([event_to_row(e) for e in log]) for _, log in logs]
    print(
        f"{len(logs)} attempts, {events:.0f} events and {sum(map(len, as_json)) / len(logs) / 1000:.0f} kB of JSON each"
    )
    print("| | written/s | read/s | kB |\n|---|---:|---:|---:|")
    write = rate(lambda one: json.dumps([event_to_row(e) for e in one[1]], ensure_ascii=False), logs)
    read = rate(lambda text: [row_to_event(row) for row in json.loads(text)], as_json)
    print(f"| rows as JSON (peer) | {write:,.0f} | {read:,.0f} | {sum(map(len, as_json)) / len(logs) / 1000:.0f} |")
    for name, dialect in DIALECTS.items():
        texts = [dialect.render(*log).text for log in logs]
        write, read = rate(lambda log, d=dialect: d.render(*log).text, logs), rate(dialect.parse, texts)
        print(f"| {name} | {write:,.0f} | {read:,.0f} | {sum(map(len, texts)) / len(logs) / 1000:.0f} |")
    templated(logs)


def templated(logs: list[Attempt]) -> None:
    """The template once for each attempt, then with pieces (twice for each turn), then the mask."""
    calling = [DIALECTS["function_calling"].render(*log) for log in logs]
    template = ChatTemplate(TEMPLATE)
    plain = rate(lambda one: template.text(one.messages, one.tools), calling)
    pieces = rate(lambda one: template.rows(one.messages, one.tools), calling)
    pairs = []
    for one in calling:
        size = len(one.text)
        pairs.append((one.segments, [(k, min(size, k + CHARS_PER_TOKEN)) for k in range(0, size, CHARS_PER_TOKEN)]))
    masked = rate(lambda pair: token_mask(*pair), pairs)
    tokens = sum(len(offsets) for _, offsets in pairs) / len(pairs)
    print(f"template alone {plain:,.0f}/s, in pieces {pieces:,.0f}/s; masks {masked:,.0f}/s of {tokens:,.0f} tokens")


if __name__ == "__main__":
    main()
