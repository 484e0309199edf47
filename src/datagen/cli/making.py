"""Verbs that make questions: check, preview, run, resume."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datagen.cli.console import (
    ProgressBar,
    as_plain,
    print_funnel,
    print_json,
    print_questions,
    print_report,
    print_table,
    say,
)
from datagen.cli.rolling import carry_on_attempts
from datagen.errors import ConfigError

if TYPE_CHECKING:
    from datagen.config import DatagenConfig
    from datagen.runs.directory import Run

Config = Annotated[
    str, typer.Argument(help="A TOML file, or the name of a preset: demo, pages, factbook, large, live.")
]
Overlays = Annotated[list[str] | None, typer.Option("--set", help="Lay section.key=value over the file; repeatable.")]
RunDirectory = Annotated[Path | None, typer.Option("--run-dir", help="Overrides run.directory.")]
ReleaseDirectory = Annotated[Path | None, typer.Option("--release-dir", help="Overrides release.directory.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Overrides run.workers.")]
Budget = Annotated[float | None, typer.Option("--budget-usd", min=0, help="Overrides cast.budget_usd.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]


def check(config: Config, overlays: Overlays = None, as_json: AsJson = False) -> None:
    """Is everything there that a run would need? Looks at config, snapshot, sources, benchmarks, and what models can do."""
    from datagen.config import load_config
    from datagen.pipeline.trying import check_config

    findings = check_config(load_config(config, overlays or ()))
    if as_json:
        print_json([as_plain(finding) for finding in findings])
    else:
        print_table(("about", "", "finding"), [(f.about, "ok" if f.ok else "NO", f.detail) for f in findings])
    if not all(finding.ok for finding in findings):
        raise ConfigError(f"{config} cannot run as it is; the table says what is missing.")


def preview(
    config: Config,
    count: Annotated[int, typer.Option("-n", min=1, help="Candidates of each recipe.")] = 10,
    browser: Annotated[Path, typer.Option(help="HTML file with the accepted questions and their proofs.")] = Path(
        "out/preview.html"
    ),
    overlays: Overlays = None,
    as_json: AsJson = False,
) -> None:
    """Make a few candidates of each recipe, show where they end, and write the accepted into one HTML file."""
    from datagen.config import load_config
    from datagen.dataset.browser import render_browser
    from datagen.pipeline.trying import preview_candidates
    from datagen.storage import write_atomic

    seen = preview_candidates(load_config(config, overlays or ()), count)
    write_atomic(browser, render_browser(f"Preview of {config}", seen.accepted).encode())
    if as_json:
        print_json(as_plain(seen) | {"seconds_per_accepted": seen.seconds_per_accepted, "browser": str(browser)})
        return
    print_funnel(seen.funnel)
    print_questions(seen.accepted[:3])
    say(f"\n{len(seen.accepted)} of {seen.candidates} accepted in {seen.seconds:.1f} s; read them in {browser}")


def run(
    config: Config,
    *,
    run_dir: RunDirectory = None,
    release_dir: ReleaseDirectory = None,
    workers: Workers = None,
    budget_usd: Budget = None,
    overlays: Overlays = None,
    as_json: AsJson = False,
) -> None:
    """Build the snapshot where it is missing, make questions until the target is met, write the release."""
    from datagen.config import load_config
    from datagen.pipeline.corpus import build_corpus
    from datagen.pipeline.making import prepare, refuse_used_directories

    resolved = load_config(config, [*(overlays or ()), *_flags(run_dir, release_dir, workers, budget_usd)])
    _refuse_flow_runners(resolved)
    refuse_used_directories(resolved)
    build_corpus(resolved, say)
    _finish(prepare(resolved), as_json=as_json)


def resume(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    *,
    config: Annotated[
        str | None, typer.Option(help="Continue under this config; refused, naming the keys, if it would change rows.")
    ] = None,
    release_dir: ReleaseDirectory = None,
    workers: Workers = None,
    budget_usd: Budget = None,
    as_json: AsJson = False,
) -> None:
    """Continue a run that was cut short, with its saved config."""
    from datagen.config import load_config, overlay_config
    from datagen.pipeline.making import reopen
    from datagen.runs.directory import open_run

    base = open_run(str(directory)).config if config is None else load_config(config)
    resolved = overlay_config(base, _flags(directory, release_dir, workers, budget_usd))
    _refuse_flow_runners(resolved)
    _finish(reopen(str(directory), resolved), as_json=as_json)


def _refuse_flow_runners(config: DatagenConfig) -> None:
    from datagen.runs.workers import LOCAL_RUNNERS

    if config.run.runner not in LOCAL_RUNNERS:
        raise ConfigError(
            f'run.runner = "{config.run.runner}" is a task runner of the flows: use `python -m flows.local build_dataset '
            "CONFIG`, or `--set run.runner=process` here."
        )


def _flags(
    run_dir: Path | None, release_dir: Path | None, workers: int | None, budget_usd: float | None = None
) -> list[str]:
    given = {
        "run.directory": run_dir,
        "release.directory": release_dir,
        "run.workers": workers,
        "cast.budget_usd": budget_usd,
    }
    return [f"{key}={value}" for key, value in given.items() if value is not None]


def _finish(run: Run, *, as_json: bool) -> None:
    """Carry a run to its end, write the release, report; exit code 3 where the target was not reached."""
    from datagen.pipeline.calling import spent_so_far
    from datagen.pipeline.finishing import release, report
    from datagen.pipeline.making import carry_on
    from datagen.pipeline.rollout_plan import plan_rollouts, rollouts_of
    from datagen.runs.workers import pool_of

    section = run.config.run
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(ProgressBar(lambda: spent_so_far(run)))
        pool = stack.enter_context(pool_of(section.runner, section.workers))
        carry_on(run, pool=pool, watch=progress)
    if run.config.rollouts is not None:
        carry_on_attempts(plan_rollouts(run.directory, run.config, rollouts_of(run.config)))
    found = report(run.directory, str(release(run)))
    if as_json:
        print_json(found.to_dict())
    else:
        print_report(found)
    found.raise_if_short()
