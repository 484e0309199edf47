"""Verbs on replies that were paid for: what is kept, and letting go of some."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datagen.cli.console import as_plain, out, print_json, print_table, say
from datagen.errors import ConfigError

if TYPE_CHECKING:
    from datagen.clients.cache import CacheStats, ReplyCache

cache_app = typer.Typer(help="Replies of models, searches and pages that runs share.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The cache: cast.cache of the config.")]
DEFAULT_FOLDER = Path("out/cache")
MODELS_SHOWN = 12


@cache_app.command()
def stats(
    folder: Folder = DEFAULT_FOLDER,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
) -> None:
    """What every store holds: entries, bytes, age, models."""
    found = [store.stats() for store in _stores(folder)]
    if as_json:
        print_json([as_plain(store) | {"path": str(store.path)} for store in found])
        return
    columns = ("store", "entries", "outdated", "bytes", "compressed", "oldest", "newest", "file")
    print_table(columns, [_row(store) for store in found])
    for store in found:
        out.print(f"\n{store.store}", markup=False)
        shown = store.models[:MODELS_SHOWN]
        print_table(
            ("model or host", "entries", "compressed"), [(m.model or "-", m.entries, m.stored_bytes) for m in shown]
        )
        if len(store.models) > MODELS_SHOWN:
            out.print(f"and {len(store.models) - MODELS_SHOWN:,} more", markup=False)


@cache_app.command()
def prune(
    folder: Folder = DEFAULT_FOLDER,
    older_than: Annotated[float | None, typer.Option("--older-than", min=0, help="Days.")] = None,
    max_mb: Annotated[
        float | None, typer.Option("--max-mb", min=0, help="Keep the newest entries, this many megabytes per store.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")] = False,
) -> None:
    """Remove entries that are outdated (always), too old, or too many. A run that needs one pays for it again."""
    for store in _stores(folder):
        gone = store.prune(
            older_than_days=older_than, max_bytes=None if max_mb is None else int(max_mb * 1e6), dry_run=dry_run
        )
        verb = "would go" if dry_run else "removed"
        say(f"{store.store}: {gone.entries:,} entries, {gone.stored_bytes:,} bytes {verb}")


def _stores(folder: Path) -> list[ReplyCache]:
    from datagen.clients.cache import STORES, ReplyCache

    present = [name for name in STORES if (folder / f"{name}.sqlite").is_file()]
    if not present:
        raise ConfigError(f"{folder} holds no cache; pass the folder that cast.cache names in the config of a run.")
    return [ReplyCache(folder, name) for name in present]


def _row(store: CacheStats) -> tuple[object, ...]:
    return (
        store.store,
        store.entries,
        store.outdated,
        store.raw_bytes,
        store.stored_bytes,
        _day(store.oldest),
        _day(store.newest),
        store.file_bytes,
    )


def _day(moment: float | None) -> str:
    return "-" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
