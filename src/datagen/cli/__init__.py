"""The command line: `datagen VERB`. Data goes to stdout, everything else to stderr; `--json` for machines.

    datagen snapshot build OUT SOURCE...     pages -> frozen corpus with index and facts
    datagen search DIR "..."                 the two tools, for people
    datagen check CONFIG                     is everything there? Makes nothing
    datagen preview CONFIG                   a few candidates of each recipe, with the funnel
    datagen run CONFIG                       snapshot -> questions -> release
    datagen rollout RUN                      questions -> graded attempts and preference pairs
    datagen verify RELEASE --snapshot DIR    recompute every proof with separate code
    datagen export RELEASE --to T --out DIR  a release as a trainer reads it
    datagen train CONFIG                     a policy that imitates attempts and improves by its own
    datagen sweep FILE                       arms of one training under several seeds, and a table of what they came to
    datagen evaluate POLICY --on SNAPSHOT    how often a policy is right, with intervals
    datagen serve SNAPSHOT                   the tools, tasks and rewards over HTTP, for trainers
    datagen practice-llm                     serve chat completions from programs, with faults on demand

Exit codes: 0 done, 1 failed, 2 usage or config, 3 target not reached, 4 budget reached. Commands import what they need when they run, so
that `datagen --help` answers at once.
"""

from __future__ import annotations

import sys

import typer

from datagen.cli import (
    caching,
    corpus,
    exporting,
    making,
    practice,
    reading,
    rolling,
    serving,
    sweeping,
    training,
    world,
)
from datagen.cli.console import fail
from datagen.errors import DatagenError

app = typer.Typer(
    name="datagen",
    help="Search-dependent questions that carry their proof: pages to facts, facts to questions, questions to a release.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(caching.cache_app, name="cache")
app.add_typer(corpus.snapshot_app, name="snapshot")
app.add_typer(world.world_app, name="world")
app.add_typer(reading.schemas_app, name="schemas")
app.add_typer(reading.prompts_app, name="prompts")
app.command()(corpus.search)
app.command()(corpus.visit)
app.command()(making.check)
app.command()(making.preview)
app.command()(making.run)
app.command()(making.resume)
app.command()(rolling.rollout)
app.command()(rolling.agreement)
app.command()(reading.report)
app.command()(reading.verify)
app.command()(reading.replay)
app.command()(exporting.export)
app.command(epilog=training.TRAIN_EPILOG)(training.train)
app.command(epilog=sweeping.SWEEP_EPILOG)(sweeping.sweep)
app.command(epilog=training.EVALUATE_EPILOG)(training.evaluate)
app.command()(serving.serve)
app.command()(practice.practice_llm)


def main() -> None:
    """The console script: a fault that a user can mend is one sentence, never a traceback."""
    try:
        app()
    except DatagenError as exc:
        sys.exit(fail(exc, exc.exit_code))
    except ImportError as exc:
        if exc.name is not None:
            raise  # a broken installation or a fault of ours; an optional part that is missing has no name, only advice
        sys.exit(fail(exc, 1))
