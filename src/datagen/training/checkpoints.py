"""Checkpoints: a folder each, which appears whole or not at all, and which any number of ranks can take up again.

    checkpoints/
      0000-step-00000020/
      0001-step-00000040/
        weights/.metadata, __0_0.distcp    parameters that are trained, and the optimisers' tensors, by name
        state.json, state.safetensors      the parts by name, and what the optimisers hold besides tensors
        random-0000.json, .safetensors     the random generators of rank 0
        manifest.json                      step, identity, every file with its size and hash

A checkpoint is written under a temporary name, flushed to the device, and renamed: what has its proper name is whole. The
first number counts the checkpoints ever written here, so the newest is the last one by name even where a training went
back to an earlier step. A process that dies while it writes leaves a folder that nobody reads; the next save removes it.

    checkpoints = Checkpoints("out/run/checkpoints", keep=2, identity={"model": {"layers": 2}})
    step = checkpoints.load(state) if checkpoints.latest() is not None else 0
    checkpoints.save(step + 20, state)

Resuming is exact: on a CPU, k steps, a checkpoint, and k steps in another process give the bits of 2k steps, if the
number of ranks is the same. With another number of ranks weights, optimisers and parts are the same, but sums are added
in another order.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException

from datagen import storage
from datagen.errors import CheckpointError, DatagenError, StorageError, TrainingError
from datagen.storage import FileEntry, Manifest
from datagen.training.distributed import World
from datagen.training.state import RandomState, TrainingState
from datagen.training.state_files import read_state, write_state
from datagen.training.weights import (
    bytes_here,
    hand_back_optimizers,
    optimizer_places,
    optimizer_tensors,
    read_tensors,
    refuse_other_optimizers,
    trained_weights,
    write_tensors,
)

log = logging.getLogger("datagen.training.checkpoints")

T = TypeVar("T")

CHECKPOINT_KIND = "checkpoint"
CHECKPOINT_VERSION = 1
WEIGHTS_FOLDER = "weights"
STATE_NAME = "state"

_NAME = re.compile(r"(\d{4,})-step-(\d{8,})")
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BYTES_BESIDE = 4 << 20
"""For JSON, generators and headers; a replay store of a gigabyte is noticed when it is written."""
_BYTES_PER_TENSOR = 2 << 10
"""Headers of one tensor in torch's format, measured at 1.4 kB."""


@dataclass(frozen=True, slots=True, order=True)
class Saved:
    """A whole checkpoint. The later of two is the greater."""

    number: int
    step: int
    folder: Path


class Checkpoints:
    """The checkpoints of one training, in one folder on a disk that all ranks see.

    `keep` newest ones stay, and those that were saved as lasting; while one is written there is room for one more.
    `identity` is what a resume has to agree on, such as the config without paths: JSON values under names, nested or not.
    One training writes at a time; readers need no care.
    """

    def __init__(
        self,
        folder: str | Path,
        keep: int = 2,
        *,
        identity: Mapping[str, Any] | None = None,
        world: World | None = None,
        go_on: str = "start the same training again",
    ) -> None:
        if keep < 1:
            raise ValueError(f"at least one checkpoint is kept, not {keep}")
        self.folder = storage.local_path(folder)
        self.keep = keep
        self._identity = _flat(identity or {})
        self._world = world or World()
        self._go_on = go_on

    def whole(self) -> list[Saved]:
        """Every whole checkpoint, oldest first."""
        if not self.folder.is_dir():
            return []
        found = []
        for path in self.folder.iterdir():
            match = _NAME.fullmatch(path.name)
            if match and (path / storage.MANIFEST_NAME).exists():
                found.append(Saved(int(match[1]), int(match[2]), path))
        return sorted(found)

    def latest(self) -> Saved | None:
        """The newest whole checkpoint."""
        return max(self.whole(), default=None)

    def save(self, step: int, state: TrainingState, *, lasting: bool = False) -> Saved:
        """Write a checkpoint; all ranks call it. A lasting one is never pruned.

        Raises `CheckpointError`, on every rank, where it cannot be written: what was whole before is untouched.
        """
        weights = {f"model/{name}": value for name, value in trained_weights(state.model).items()}
        records, kept = optimizer_tensors(state.model, state.optimizers)
        tensors = weights | kept
        needed = self._bytes_needed(tensors)
        number = self._world.gather(max((one.number for one in self.whole()), default=-1) + 1)[0]
        saved = Saved(number, step, self.folder / f"{number:04d}-step-{step:08d}")
        scratch = self.folder / f"{storage.TEMPORARY_PREFIX}{saved.folder.name}"
        try:
            with self._room_explained(step, needed):
                self._on_leader(lambda: self._begin(scratch, step, needed))
                random = RandomState.capture().state_dict()
                self._together(lambda: write_state(scratch, _random_name(self._world.rank), random))
                write_tensors(scratch / WEIGHTS_FOLDER, tensors)
                entries = self._together(lambda: self._entries_of_this_rank(scratch))
                everything = [entry for part in self._world.gather(entries) for entry in part]
                self._on_leader(
                    lambda: self._finish(saved, scratch, _kept(state, records, weights), everything, lasting=lasting)
                )
        finally:
            if self._world.leads:
                shutil.rmtree(scratch, ignore_errors=True)
        return saved

    def load(self, state: TrainingState, step: int | None = None) -> int:
        """Put the newest checkpoint, or that of `step`, into the live objects, and say at which step it was taken.

        All ranks call it. Raises `CheckpointError` where there is none, where it was made under another identity, or where
        a file of it is missing or damaged, with the name of the file; nothing older is taken instead unasked.
        """
        saved = self._world.gather(self._together(lambda: self._chosen(step)))[0]
        manifest = self._together(lambda: self._checked_manifest(saved))
        self._refuse_damage(saved, manifest)
        kept = self._together(lambda: read_state(saved.folder, STATE_NAME))
        weights = {f"model/{name}": value for name, value in trained_weights(state.model).items()}
        self._together(lambda: self._refuse_other_objects(saved, kept, state, weights))
        places = optimizer_places(state.model, kept["optimizers"])
        with _reading(saved.folder):
            read_tensors(saved.folder / WEIGHTS_FOLDER, weights | places)
        hand_back_optimizers(state.model, state.optimizers, kept["optimizers"], places)
        for name, part in state.parts.items():
            part.load_state_dict(kept["parts"][name])
        self._restore_random(saved.folder)
        return saved.step

    def _together(self, work: Callable[[], T]) -> T:
        """`work` on every rank, and one kind of error on all of them."""
        try:
            return self._world.together(work)
        except TrainingError as exc:
            raise exc if isinstance(exc, CheckpointError) else CheckpointError(str(exc)) from exc

    def _on_leader(self, work: Callable[[], object]) -> None:
        self._together(lambda: work() if self._world.leads else None)

    def _begin(self, scratch: Path, step: int, needed: int) -> None:
        """Remove what earlier processes left unfinished, and make sure that there is room."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob(f"{storage.TEMPORARY_PREFIX}*/"):
            shutil.rmtree(path)
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise self._no_room(step, needed)
        (scratch / WEIGHTS_FOLDER).mkdir(parents=True)

    def _finish(
        self, saved: Saved, scratch: Path, kept: Mapping[str, Any], entries: Sequence[FileEntry], *, lasting: bool
    ) -> None:
        """Write what is written once, the manifest last, and give the folder its name."""
        write_state(scratch, STATE_NAME, kept)
        mine = [_entry(scratch, name) for name in storage.list_names(scratch) if name.startswith(f"{STATE_NAME}.")]
        fields = {"step": saved.step, "ranks": self._world.size, "lasting": lasting, "identity": self._identity}
        files = tuple(sorted([*entries, *mine], key=lambda entry: entry.name))
        storage.write_manifest(scratch, Manifest(CHECKPOINT_KIND, CHECKPOINT_VERSION, files, fields))
        storage.flush(scratch / WEIGHTS_FOLDER)
        storage.flush(scratch)
        scratch.rename(saved.folder)
        storage.flush(self.folder)
        self._prune()

    def _prune(self) -> None:
        for old in self.whole()[: -self.keep]:
            try:
                manifest = storage.read_manifest(old.folder, kind=CHECKPOINT_KIND, version=CHECKPOINT_VERSION)
            except StorageError as exc:
                log.warning("%s stays, as nobody can tell whether it is to last: %s", old.folder, exc)
                continue
            if not manifest.fields["lasting"]:
                doomed = old.folder.with_name(f"{storage.TEMPORARY_PREFIX}{old.folder.name}")
                old.folder.rename(doomed)  # so that a process that dies here leaves nothing that looks whole
                shutil.rmtree(doomed)

    def _entries_of_this_rank(self, scratch: Path) -> list[FileEntry]:
        names = [name for name in storage.list_names(scratch) if name.startswith(f"{_random_name(self._world.rank)}.")]
        own = f"__{self._world.rank}_"
        for name in storage.list_names(scratch / WEIGHTS_FOLDER):
            if name.startswith(own) or (self._world.leads and not name.startswith("__")):
                names.append(f"{WEIGHTS_FOLDER}/{name}")
        return [_entry(scratch, name) for name in names]

    def _chosen(self, step: int | None) -> Saved:
        whole = self.whole()
        of_step = [one for one in whole if step is None or one.step == step]
        if not of_step:
            there = ", ".join(str(one.step) for one in whole)
            raise CheckpointError(
                f"{self.folder} has no whole checkpoint{'' if step is None else f' of step {step}'}; "
                + (f"there are those of steps {there}." if there else "begin the training without one.")
            )
        return of_step[-1]

    def _checked_manifest(self, saved: Saved) -> Manifest:
        with _reading(saved.folder):
            manifest = storage.read_manifest(saved.folder, kind=CHECKPOINT_KIND, version=CHECKPOINT_VERSION)
        before = manifest.fields["identity"]
        changed = sorted(
            key for key in before.keys() | self._identity.keys() if before.get(key) != self._identity.get(key)
        )
        if changed:
            raise CheckpointError(
                f"{saved.folder} was made with a different config (changed: {', '.join(changed)}). Resume with the config "
                "that it was made with, or train in another folder."
            )
        return manifest

    def _refuse_damage(self, saved: Saved, manifest: Manifest) -> None:
        """Each rank reads its share of the files, and each tells the others what it found."""
        share = replace(manifest, files=manifest.files[self._world.rank :: self._world.size])
        with _reading(saved.folder):
            here = self._world.together(lambda: storage.damaged_files(saved.folder, share))
        found = self._world.gather(here)
        damaged = sorted(name for part in found for name in part)
        if not damaged:
            return
        older = [one for one in self.whole() if one < saved]
        way = f"go on from step {older[-1].step}" if older else "begin anew, as there is no older one"
        raise CheckpointError(
            f"{saved.folder} is damaged: {', '.join(damaged)} missing or changed since written. Copy it again from "
            f"where it came from; or remove it with `rm -r {saved.folder}` and {self._go_on} to {way}."
        )

    def _refuse_other_objects(
        self, saved: Saved, kept: Mapping[str, Any], state: TrainingState, weights: Mapping[str, Tensor]
    ) -> None:
        here = {name: _shape(value) for name, value in weights.items()}
        for what, there, mine in (
            ("weights", kept["weights"], here),
            ("parts", dict.fromkeys(kept["parts"]), dict.fromkeys(state.parts)),
        ):
            other = sorted(name for name in there.keys() | mine.keys() if there.get(name, ()) != mine.get(name, ()))
            if other:
                names = ", ".join(name.removeprefix("model/") for name in other[:5])
                more = f" and {len(other) - 5} more" if len(other) > 5 else ""
                raise CheckpointError(
                    f"{saved.folder} holds other {what} than this training has: {names}{more}. Resume with the config that "
                    "it was made with."
                )
        refuse_other_optimizers(state.model, state.optimizers, kept["optimizers"])

    def _restore_random(self, folder: Path) -> None:
        """A rank that was not there when the checkpoint was made takes the generators of rank 0."""
        own = _random_name(self._world.rank)
        name = own if (folder / f"{own}.json").exists() else _random_name(0)
        RandomState.from_state_dict(read_state(folder, name)).restore()

    def _bytes_needed(self, tensors: Mapping[str, Tensor]) -> int:
        here = bytes_here(tensors, leads=self._world.leads) + _BYTES_PER_TENSOR * len(tensors)
        return sum(self._world.gather(here)) + _BYTES_BESIDE

    def _no_room(self, step: int, needed: int) -> CheckpointError:
        free = shutil.disk_usage(self.folder).free
        newest = self.latest()
        last = f"The checkpoint of step {newest.step} is whole." if newest else "There is no earlier one."
        return CheckpointError(
            f"{self.folder} has no room for the checkpoint of step {step}: it needs {_size(needed)}, and {_size(free)} are "
            f"free on that disk (a quota may allow less). {last} Free some room, keep fewer, or move the folder to a "
            f"larger disk; then {self._go_on}."
        )

    @contextlib.contextmanager
    def _room_explained(self, step: int, needed: int) -> Iterator[None]:
        try:
            yield
        except (OSError, DatagenError, CheckpointException) as exc:
            if isinstance(exc, CheckpointError):
                raise
            if _system_error(exc) in _NO_ROOM:
                raise self._no_room(step, needed) from exc
            raise CheckpointError(
                f"{self.folder} cannot take the checkpoint of step {step}: {exc}. What was whole before is untouched; "
                f"mend the folder, then {self._go_on}."
            ) from exc


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, StorageError, CheckpointException) as exc:
        raise CheckpointError(f"{folder} cannot be read: {exc}. Remove it to go on from an older one.") from exc


def _system_error(exc: BaseException) -> int | None:
    """The number of the system's error that is at the bottom of this one; torch and `storage` wrap it."""
    seen: list[BaseException | None] = [exc]
    while seen:
        one = seen.pop()
        if isinstance(one, OSError) and one.errno is not None:
            return one.errno
        if isinstance(one, CheckpointException):
            seen += [failure for failure, _ in one.failures.values()]
        if one is not None:
            seen += [one.__cause__, one.__context__]
    return None


def _kept(state: TrainingState, records: Sequence[Mapping[str, Any]], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """What rank 0 writes for all."""
    return {
        "weights": {name: _shape(value) for name, value in weights.items()},
        "optimizers": list(records),
        "parts": {name: part.state_dict() for name, part in state.parts.items()},
    }


def _entry(folder: Path, name: str) -> FileEntry:
    return storage.describe_file(folder / name, name=name)


def _random_name(rank: int) -> str:
    return f"random-{rank:04d}"


def _shape(value: Tensor) -> str:
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def _flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"run": {"seed": 7}} -> {"run.seed": 7}, in the form that JSON gives back."""
    flat: dict[str, Any] = {}
    for key, value in section.items():
        nested = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": json.loads(json.dumps(value))}
    return flat


def _size(count: int) -> str:
    for unit, name in ((1 << 30, "GB"), (1 << 20, "MB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count / 1024:.0f} kB"
