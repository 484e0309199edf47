"""A release in the form that a trainer reads: `export(release, target, out)`, one module per target.

    export(Path("out/demo/release"), "verl", Path("out/verl"))     rl/*.parquet, sft/*.parquet, tools.yaml, reward.py

Every module has one function, `write(folder, *, name, ...)`. Questions become prompts with what a reward needs, verified
attempts become conversations, pairs become preferences. The answer goes only into the fields that the reward reads: no
prompt, no argument of a tool and nothing that a trainer hands to an environment holds it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from datagen.dataset.exports.reading import ReleaseTables
from datagen.dataset.exports.writing import Exported, ExportFolder
from datagen.errors import ExportError

TARGETS = {
    "verl": "verl",
    "trl": "trl",
    "verifiers": "verifiers",
    "openrlhf": "openrlhf",
    "slime": "slime",
    "skyrl": "skyrl",
    "infoseek": "infoseek",
    "browsecomp-plus": "browsecomp_plus",
}
"""Target -> module of this package."""


def export(release: Path, target: str, out: Path, *, name: str = "datagen", **options: Any) -> Exported:
    """Write `release` for `target` into `out`, which must not be in use. `name` is that of the data source in rows.

    Raises `ExportError` for an unknown target, an option that it does not have, a folder in use, and a release that
    lacks what the target consists of.
    """
    if target not in TARGETS:
        raise ExportError(f"There is no export to {target!r}; the targets are {', '.join(TARGETS)}.")
    module = import_module(f"{__name__}.{TARGETS[target]}")
    unknown = sorted(options.keys() - getattr(module, "OPTIONS", frozenset()))
    if unknown:
        raise ExportError(f"An export to {target} has no option {unknown[0]!r}; leave it out.")
    with ExportFolder(out, target, ReleaseTables.open(release)) as folder:
        module.write(folder, name=name, **options)
    return folder.exported()
