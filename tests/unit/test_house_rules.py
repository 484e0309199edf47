"""The rules of the house that a machine can hold: layers, sizes, and what the package may import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "datagen"

# Floors of architecture §1, from the ground up: a room imports only rooms on floors below it, or itself.
FLOORS = (
    ("records", "errors"),
    ("knowledge", "clients", "storage", "config"),
    ("web", "language"),
    ("agents",),
    ("synthesis", "verification", "rollouts", "reports", "practice"),
    ("dataset", "environment", "evaluation", "pipeline", "runs"),
    ("training",),
    ("cli",),
)
FLOOR_OF = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
# Rooms of one floor that may still import each other, in this direction only.
SAME_FLOOR = {
    ("records", "errors"),
    ("config", "storage"),
    ("verification", "synthesis"),
    ("rollouts", "synthesis"),
    ("rollouts", "verification"),
    ("environment", "dataset"),
    ("pipeline", "runs"),
    ("pipeline", "dataset"),
    ("evaluation", "dataset"),
}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def modules() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_a_room_imports_only_rooms_on_floors_below_it():
    wrong = []
    for path in modules():
        room = room_of(path)
        if room == "__init__":
            continue
        assert room in FLOOR_OF, f"{path.relative_to(ROOT)} lives in a room that no floor names"
        for name in imported(path):
            parts = name.split(".")
            if parts[0] != "datagen" or len(parts) == 1 or parts[1] == room:
                continue
            target = parts[1]
            below = FLOOR_OF[target] < FLOOR_OF[room]
            if not below and (room, target) not in SAME_FLOOR:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")

    assert wrong == []


@pytest.mark.parametrize("package", ["prefect", "torch", "vllm"])
def test_the_library_never_imports_an_orchestrator_or_a_model_runtime(package):
    allowed = {"torch": ("training", "agents"), "vllm": ("clients", "training"), "prefect": ()}[package]

    wrong = [
        str(path.relative_to(ROOT))
        for path in modules()
        if room_of(path) not in allowed
        for name in imported(path)
        if name.split(".")[0] == package
    ]

    assert wrong == []


def test_files_and_functions_stay_small():
    long = []
    for path in [*modules(), *sorted((ROOT / "flows").glob("*.py"))]:
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MAX_FILE_LINES:
            long.append(f"{path.relative_to(ROOT)} has {text.count(chr(10))} lines; split it by noun")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = node.body[0] if ast.get_docstring(node) else None
                skip = (docstring.end_lineno - docstring.lineno + 1) if docstring else 0
                if node.end_lineno - node.lineno + 1 - skip > MAX_FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} is too long; give its parts names")

    assert long == []


def test_no_module_is_called_utils_or_helpers():
    assert [p.name for p in modules() if re.fullmatch(r"(utils?|helpers?|misc|common)\.py", p.name)] == []


def test_the_help_text_loads_no_heavy_library():
    code = (
        "import sys; from typer.testing import CliRunner; from datagen.cli import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "print([m for m in ('torch', 'vllm', 'prefect', 'datasets', 'pyarrow', 'polars', 'tantivy', 'trafilatura') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
