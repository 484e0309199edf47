"""Typed errors. Each message is a sentence: what, where, and the command to run next.

    DatagenError                exit code 1
    ├── ConfigError             exit code 2: the config, a flag or an input path is wrong; nothing was started
    │   └── UnfitEndpointError      a model, where it is served, cannot do what a role needs
    ├── SnapshotError           a snapshot is missing, unfinished, or of another version
    ├── SourceError             a corpus source cannot be opened at all (bad records inside it are counted, not raised)
    ├── PageNotFoundError       `visit` was asked for a page the web does not have
    ├── ParseError              words that the grammar does not cover
    ├── WordingError            a formula that the phrase table cannot say
    ├── StorageError            a file cannot be read or written as asked
    ├── RunDirectoryError       a run directory cannot be used as asked; nothing was written
    ├── WorkerDiedError         a worker process ended without an answer; finished shards are kept
    ├── ReleaseError            a release is incomplete or fails verification
    ├── ExportError             a release cannot be written in the form that a trainer reads
    ├── ChatTemplateError   a chat template refuses a conversation, or its pieces cannot be told apart
    ├── StreamStateError        a loader's state belongs to other data or another order; nothing is skipped silently
    ├── TrainingError           training cannot go on: a loss that is no number, rows that no model can be given
    │   └── CheckpointError         a checkpoint cannot be written or read; the last good one is left as it was
    ├── TargetNotReachedError   exit code 3: the run ended with fewer accepted questions than asked for
    ├── BudgetReachedError      exit code 4: the next paid call could pass the budget; everything made is kept
    ├── EngineError             an engine that samples from a policy broke; the attempt has no reward
    ├── EndpointError           one call to a model or a search service failed
    │   ├── ThrottledError          told to wait (429, 503 with Retry-After)
    │   ├── OverloadedError         the server failed (5xx)
    │   ├── ConnectionLostError     refused, reset, timed out, or cut off before the reply was whole
    │   ├── InvalidRequestError     a 4xx that no repetition can mend
    │   ├── CredentialsError        401 or 403; ends the run
    │   ├── RetriesExhaustedError   a call failed as often as it may; costs the one record it was for
    │   └── EndpointDownError       nearly every call of late failed; ends the run, which can be resumed
    ├── ReplayMissError         offline, and a reply that is needed was never received; nothing is asked instead
    ├── UnusableReplyError      a model's reply fits no schema after its corrections; costs the one record it was for
    └── FetchError              a page of the live web was not fetched; `reason` is a short code

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


class UnfitEndpointError(ConfigError):
    """A model, where it is served, lacks a capability that a role of the cast needs."""


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


class ExportError(DatagenError):
    """A release cannot be written in the form that a trainer reads."""


class ChatTemplateError(DatagenError):
    """A chat template refuses a conversation, or writes it so that nobody can tell who wrote what."""


class StreamStateError(DatagenError):
    """A loader's saved state does not belong to the data it is loaded into."""


class TrainingError(DatagenError):
    """Training cannot go on."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be written or read; the last good one is left as it was."""


class EngineError(DatagenError):
    """An engine broke while it sampled: the fault of no policy."""


class TargetNotReachedError(DatagenError):
    """A run ended with fewer accepted questions than its target."""

    exit_code = 3


class BudgetReachedError(DatagenError):
    """The next paid call could pass the budget. Every reply that was paid for is kept."""

    exit_code = 4


class EndpointError(DatagenError):
    """One call to a model or a search service failed."""

    retryable = False


class ThrottledError(EndpointError):
    """The server asks to wait; `retry_after` is in seconds where it said how long."""

    retryable = True

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OverloadedError(EndpointError):
    """The server failed."""

    retryable = True


class ConnectionLostError(EndpointError):
    """The connection was refused, reset, timed out, or cut off before the reply was whole."""

    retryable = True


class InvalidRequestError(EndpointError):
    """The server will not answer this request, however often it is sent."""


class CredentialsError(EndpointError):
    """The key is missing or not accepted. Nothing else can be done with this endpoint."""


class RetriesExhaustedError(EndpointError):
    """A call failed as often as it may. It costs the record that it was for."""


class EndpointDownError(EndpointError):
    """Nearly every call of late failed. The run ends and can be resumed."""


class ReplayMissError(DatagenError):
    """Offline, a reply that is needed is not in the cache."""


class UnusableReplyError(DatagenError):
    """A model's reply fits no schema after its corrections. `reason` is a short code for the rejects table."""

    def __init__(self, message: str, reason: str = "schema") -> None:
        super().__init__(message)
        self.reason = reason


class FetchError(DatagenError):
    """A page of the live web was not fetched. `reason` is a short code such as "robots" or "too_large"."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


@contextlib.contextmanager
def boundary(error: type[DatagenError], what: str) -> Iterator[None]:
    """Attribute anything that escapes the block to `error`; errors that already have a type pass unchanged."""
    try:
        yield
    except DatagenError:
        raise
    except Exception as exc:
        raise error(f"{what}: {type(exc).__name__}: {exc}") from exc
