"""The same attempt with other names: consistent, new at every reading, and only names."""

from __future__ import annotations

import random

import orjson

from datagen.training.renaming import COMMON, Renamer

NAMES = [
    "Aga Brun",
    "Velmo",
    "Upper Trisk",
    "Port Selkun",
    "Dorivan Hult",
    *(f"New Town{i:c}" for i in range(97, 97 + 26)),
]
NAMES += [f"New Place{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(COMMON)]
HITS = {"results": [{"url": "https://a.example/velmo", "title": "Velmo", "snippet": "Velmo, in Upper Trisk"}]}
ROW = {
    "id": "tr1",
    "question": "Which region contains Velmo?",
    "events": [
        {"kind": "thought", "text": "region", "tool": None, "arguments": None},
        {"kind": "call", "text": "", "tool": "search", "arguments": '{"query": "Velmo", "top_k": 5}'},
        {"kind": "result", "text": orjson.dumps(HITS).decode(), "tool": "search", "arguments": None},
        {"kind": "call", "text": "", "tool": "visit", "arguments": '{"url": "https://a.example/Velmo"}'},
        {"kind": "answer", "text": "Upper Trisk", "tool": None, "arguments": None},
    ],
}


def renamed(seed: int) -> dict:
    return Renamer(NAMES).row(ROW, random.Random(seed))


def test_a_name_becomes_one_other_name_wherever_it_stands():
    row = renamed(1)

    new = row["question"].removeprefix("Which region contains ").removesuffix("?")
    hit = orjson.loads(row["events"][2]["text"])["results"][0]
    assert new != "Velmo"
    assert orjson.loads(row["events"][1]["arguments"]) == {"query": new, "top_k": 5}
    assert hit["title"] == new
    assert hit["snippet"] == f"{new}, in {row['events'][4]['text']}"


def test_addresses_common_words_and_everything_else_stay():
    row = renamed(1)

    assert orjson.loads(row["events"][2]["text"])["results"][0]["url"] == "https://a.example/velmo"
    assert row["events"][3] == ROW["events"][3]
    assert row["events"][0] == ROW["events"][0]
    assert Renamer(NAMES).row({**ROW, "question": "Is it in New Delorio?"}, random.Random(0))["question"] == (
        "Is it in New Delorio?"
    )


def test_readings_differ_and_can_be_repeated():
    assert renamed(1) == renamed(1)
    assert len({renamed(seed)["question"] for seed in range(20)}) > 10
    assert ROW["question"] == "Which region contains Velmo?"
