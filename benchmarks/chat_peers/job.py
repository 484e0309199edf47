"""The job that every generator does: a note on each subject, then a form filled from the note.

Standard library only, since it runs in everybody's environment. A model's replies are functions of what it was told, so
it is known what each record should hold: a record can be right, wrong, or missing.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

SYSTEM = "You keep the catalogue of a museum of tools. You write plainly, and only what you are told."
NOTE = "Write a note of three sentences on the object {subject}."
FORM = "Fill in the form for the catalogue from this note.\n\n{note}"
MODEL = "practice"
MAX_TOKENS = 400
TEMPERATURE = 0.7
SCHEMA = {
    "type": "object",
    "properties": {"words": {"type": "integer"}, "code": {"type": "string"}, "summary": {"type": "string"}},
    "required": ["words", "code", "summary"],
    "additionalProperties": False,
}
_TOOLS = ("adze", "awl", "bellows", "chisel", "drawknife", "froe", "gimlet", "mallet", "plane", "rasp", "spokeshave")
_NOTED = re.compile(r"Note ([0-9a-f]{16}): [^.]*\.[^.]*\.[^.]*\.")
_SUBJECT = re.compile(r"object-\d{6}")


def subject(number: int) -> str:
    return f"object-{number:06d}"


def note_of(name: str) -> str:
    """The note on a subject."""
    mark = sha256(name.encode()).hexdigest()
    kind = _TOOLS[int(mark[:4], 16) % len(_TOOLS)]
    return (
        f"Note {mark[:16]}: {name} is a {kind} of beech and iron that was made for work at a bench. It was used for "
        f"{int(mark[4:6], 16)} years in a workshop with {int(mark[6:8], 16)} others of its kind, and its edge was "
        "ground anew every winter. The handle was replaced once and bears the marks of two owners."
    )


def form_of(note: str) -> dict[str, Any]:
    """The form filled from a note."""
    return {
        "words": len(note.split()),
        "code": sha256(note.encode()).hexdigest()[:12],
        "summary": f"A tool with a history, as the note {note[5:21]} tells: made for a bench, used for years among others.",
    }


def asked_for(text: str) -> tuple[str, str | None]:
    """What a conversation is about: the subject, and the note it gives if it asks for the form."""
    noted = _NOTED.search(text)
    found = _SUBJECT.search(noted[0] if noted else text)
    return (found[0] if found else ""), (noted[0] if noted else None)


def verdict(row: Mapping[str, Any], number: int) -> str:
    """ "right", "wrong" where something else stands there than the model said in the end, "missing" where nothing does."""
    if any(row.get(field) in (None, "") for field in ("note", "words", "code", "summary")):
        return "missing"
    note = note_of(subject(number))
    said = {"note": note, **form_of(note)}
    return "right" if {key: row[key] for key in said} == said else "wrong"


def score(path: Path, records: int) -> dict[str, int]:
    """How many of the records are right, wrong and missing; `twice` counts rows for a record that has one already."""
    counts = {"right": 0, "wrong": 0, "missing": records, "twice": 0}
    seen = set()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        row = json.loads(line)
        number = int(row["subject"].removeprefix("object-"))
        if number in seen:
            counts["twice"] += 1
            continue
        seen.add(number)
        found = verdict(row, number)
        if found != "missing":
            counts[found] += 1
            counts["missing"] -= 1
    return counts


def options() -> argparse.Namespace:
    """What every generator is told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--slots", type=int, required=True, help="calls at once")
    parser.add_argument("--scratch", type=Path, required=True, help="an empty folder")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows as lines of JSON; fields that a generator could not fill are None."""
    kept = ("subject", "note", "words", "code", "summary")
    path.write_text("".join(json.dumps({key: row.get(key) for key in kept}) + "\n" for row in rows), encoding="utf-8")
