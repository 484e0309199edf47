"""Verbs on what was made: verify, report, schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from datagen.cli.console import as_plain, counting, out, print_json, print_report, print_table, say
from datagen.errors import ConfigError

prompts_app = typer.Typer(help="What models are asked.", no_args_is_help=True)
PromptFolder = Annotated[Path | None, typer.Option("--folder", help="Another folder of prompts (cast.prompts).")]
schemas_app = typer.Typer(help="The published schema of every table.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]


def report(
    directory: Annotated[Path, typer.Argument(help="A run directory, or a release folder.")],
    snapshot: Annotated[Path | None, typer.Option("--snapshot", help="Of a release: measure pages as well.")] = None,
    as_json: AsJson = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Of a release: as a card shows it.")] = False,
) -> None:
    """The funnel of a finished run and a few of its questions, or the quality of a release beside published sets."""
    from datagen.dataset.quality import is_release

    if is_release(directory):
        _report_quality(directory, snapshot, as_json=as_json, as_markdown=as_markdown)
        return
    if snapshot is not None or as_markdown:
        raise ConfigError(f"{directory} is no release, and --snapshot and --markdown are for releases; leave them out.")
    from datagen.pipeline.finishing import report as report_of

    found = report_of(str(directory))
    if as_json:
        print_json(found.to_dict())
    else:
        print_report(found)


def _report_quality(release: Path, snapshot: Path | None, *, as_json: bool, as_markdown: bool) -> None:
    from datagen.dataset.quality import measure_release

    with counting("questions measured") as watch:
        found = measure_release(release, snapshot, watch)
    if as_json:
        print_json(found.to_dict())
    elif as_markdown:
        out.print(found.to_markdown(), markup=False)
    else:
        print_table(("metric", "here", "n", "published"), found.rows(), title=found.caption())
        columns, rows = found.split()
        print_table(columns, rows, title="\nBy the vertices of the question")
        for number, note in enumerate(found.notes(), start=1):
            out.print(f"[{number}] {note}", markup=False)


def verify(
    release: Annotated[Path, typer.Argument(help="A release folder.")],
    snapshot: Annotated[Path, typer.Option("--snapshot", help="The snapshot it was made from.")],
    as_json: AsJson = False,
) -> None:
    """Recompute every certificate, hash, id and split of a release with separate, brute-force code."""
    from datagen.dataset.verify import verify_release
    from datagen.dataset.verify_attempts import verify_attempts

    with counting("rows verified") as watch:
        found = verify_release(release, snapshot, watch)
    if (release / "data" / "trajectories").is_dir():
        with counting("attempts verified") as watch:
            found = found.with_attempts(verify_attempts(release, snapshot, watch))
    if as_json:
        faults = [{"row": fault.row, "sentence": fault.sentence} for fault in found.faults]
        counts = {"questions": found.questions, "evidence": found.evidence}
        print_json(counts | {"trajectories": found.trajectories, "calls": found.calls, "faults": faults})
    found.raise_if_faulty()
    if not as_json:
        say(
            f"{found.questions:,} questions hold: every certificate recomputed, {found.evidence:,} quotes found in place."
        )
        if found.trajectories:
            say(
                f"{found.trajectories:,} trajectories hold: every grade recomputed, {found.calls:,} tool calls made again."
            )


def replay(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    as_json: AsJson = False,
) -> None:
    """Make a run's candidates again from what it has seen, with every socket closed, and compare the rows."""
    from datagen.pipeline.replaying import replay as replay_run

    with counting("candidates made again") as watch:
        found = replay_run(str(directory), watch)
    if as_json:
        print_json(as_plain(found))
    found.raise_if_different()
    if not as_json:
        say(f"{found.candidates:,} candidates came out the same, {found.accepted:,} of them accepted.")


@prompts_app.command("list")
def list_prompts(folder: PromptFolder = None) -> None:
    """Every prompt with its hash, as rows name it."""
    from datagen.agents.llm.prompts import PromptBook

    print_table(("prompt", "hash"), list(PromptBook(folder).digests().items()))


@prompts_app.command("show")
def show_prompt(
    name: Annotated[str, typer.Argument(help="A prompt, or a role: solver, browser, writer, ...")],
    folder: PromptFolder = None,
) -> None:
    """The text of a prompt, or of all prompts that a role is asked with."""
    from datagen.agents.llm.prompts import PROMPTS_OF, PromptBook

    book = PromptBook(folder)
    for each in PROMPTS_OF.get(name, (name,)):
        prompt = book[each]
        out.print(f"# {each}@{prompt.digest}", style="bold", markup=False)
        out.print(prompt.source, markup=False)


@schemas_app.command("export")
def export_schemas(folder: Annotated[Path, typer.Argument(help="Where the files go.")] = Path("schemas")) -> None:
    """Write one JSON Schema per table."""
    from datagen.records.schema import TABLES, json_schema
    from datagen.storage import write_atomic

    for table in TABLES:
        write_atomic(folder / f"{table}.json", (json.dumps(json_schema(table), indent=1) + "\n").encode())
    say(f"{len(TABLES)} schemas in {folder}")
