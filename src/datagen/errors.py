"""Typed errors. Each message is a sentence: what, where, and the command to run next.

    DatagenError                exit code 1
    ├── ConfigError             exit code 2: the config, a flag or an input path is wrong; nothing was started
    ├── SnapshotError           a snapshot is missing, unfinished, or of another version
    ├── SourceError             a corpus source cannot be opened at all (bad records inside it are counted, not raised)
    ├── PageNotFoundError       `visit` was asked for a page the web does not have
    ├── ParseError              words that the grammar does not cover
    ├── WordingError            a formula that the phrase table cannot say
    ├── StorageError            a file cannot be read or written as asked
    ├── RunDirectoryError       a run directory cannot be used as asked; nothing was written
    ├── WorkerDiedError         a worker process ended without an answer; finished shards are kept
    ├── ReleaseError            a release is incomplete or fails verification
    └── TargetNotReachedError   exit code 3: the run ended with fewer accepted questions than asked for

Library code raises these for what a user can mend. A programming error stays an ordinary exception.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class DatagenError(Exception):
    """Base class; `exit_code` is what the command line returns."""

    exit_code = 1


class ConfigError(DatagenError):
    """The config, a flag or an input path is wrong."""

    exit_code = 2


class SnapshotError(DatagenError):
    """A snapshot cannot be read or written as asked."""


class SourceError(DatagenError):
    """A corpus source cannot be opened at all."""


class PageNotFoundError(DatagenError):
    """The web has no page at this address."""


class ParseError(DatagenError):
    """A text lies outside the grammar of questions."""


class WordingError(DatagenError):
    """A formula has no words that parse back to it."""


class StorageError(DatagenError):
    """A file cannot be read or written as asked."""


class WorkerDiedError(DatagenError):
    """A worker process ended without an answer. Finished shards are kept."""


class RunDirectoryError(DatagenError):
    """A run directory cannot be used as asked. Nothing was written."""


class ReleaseError(DatagenError):
    """A release is incomplete or fails verification."""


class TargetNotReachedError(DatagenError):
    """A run ended with fewer accepted questions than its target."""

    exit_code = 3


@contextlib.contextmanager
def boundary(error: type[DatagenError], what: str) -> Iterator[None]:
    """Attribute anything that escapes the block to `error`; errors that already have a type pass unchanged."""
    try:
        yield
    except DatagenError:
        raise
    except Exception as exc:
        raise error(f"{what}: {type(exc).__name__}: {exc}") from exc
