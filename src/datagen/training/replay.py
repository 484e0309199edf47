"""The newest success of every question, for the day when all attempts at it fail.

    epoch 1   q12   wrong  right  wrong  wrong  wrong      the right one is kept: tokens, who wrote them, log-probabilities
    epoch 2   q12   wrong  wrong  wrong  wrong  wrong      all fail: rewards are equal and nothing is learned
              q12   wrong  wrong  RIGHT  wrong  wrong      one of them, drawn by lot, makes way for the kept one

Part (c) of RAPO (Fathom-DeepResearch, arXiv 2509.24107; fathom.md §2.3). A group fails when no answer of it is right, not
when its rewards are tied: under a reward for form, wrong attempts differ from each other and are no less wrong. Attempts
that have no grade fail nothing and are never replaced.

    store.expire(now)                            nothing below comes from too long ago
    store.replace(group, epoch=1, now=40)        before advantages are computed
    store.keep(store.successes(groups))          after that, from the groups as they were sampled

What the paper leaves open is a setting: what counts as a success
("answer": a right one; "reward": a total above 0.5), how many updates a success may be old, how many bytes are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from datagen.errors import CheckpointError, ConfigError
from datagen.records.ids import rng_for
from datagen.training.rollout import Group, Rollout, Sampled

STATE_VERSION = 1
MIN_REWARD = 0.5
"""A total reward above this one is a success to the reading "reward" (fathom.md §2.3c)."""
Success = Literal["answer", "reward"]
MAX_BYTES = 1 << 30
BYTES_PER_TOKEN = 13
"""Of `Sampled`: an id in 8, its log-probability in 4, who wrote it in 1."""
PLAIN_FIELDS = (
    "question_id", "rollout_id", "reward", "correct", "termination", "version", "turns", "searches", "visits",
    "parse_failures",
)  # fmt: skip
COUNTS = ("stored", "replayed", "unmended", "expired", "evicted")


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """What is kept, and for how long."""

    success: Success = "answer"
    """answer: the answer is right; reward: the total reward is above 0.5."""
    max_age: int | None = None
    """Updates between the weights that wrote a success and those that learn from it, at most; None for any."""
    max_bytes: int = MAX_BYTES
    """Memory for tokens; the successes that were stored longest ago make way."""

    def __post_init__(self) -> None:
        if self.success not in get_args(Success):
            raise ConfigError(f"replay.success is {self.success!r}; choose answer or reward")
        if self.max_age is not None and self.max_age < 0:
            raise ConfigError(f"replay.max_age is {self.max_age} updates; take at least 0, or none for any age")
        if self.max_bytes < 0:
            raise ConfigError(f"replay.max_bytes is {self.max_bytes}; take at least 0")


class ReplayStore:
    """One success per question."""

    def __init__(self, settings: ReplaySettings | None = None, *, seed: int = 0) -> None:
        """`seed` belongs to the lots that decide which attempt makes way."""
        self.settings = settings or ReplaySettings()
        self.seed = seed
        self.bytes = 0
        """Of the tokens that are kept."""
        self.counts = dict.fromkeys(COUNTS, 0)
        """stored; replayed; unmended: groups that failed without a success at hand; expired: successes that became too old;
        evicted: those that memory had no room for."""
        self._kept: dict[str, Rollout] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, question_id: str) -> bool:
        return question_id in self._kept

    # Successes go in -------------------------------------------------------------------------------------------------

    def succeeded(self, rollout: Rollout) -> bool | None:
        """Whether an attempt is a success; None where nobody could tell."""
        if rollout.reward is None or rollout.correct is None:
            return None
        return rollout.correct if self.settings.success == "answer" else rollout.reward > MIN_REWARD

    def successes(self, groups: Iterable[Group]) -> list[Rollout]:
        """The newest success at each question, in the order of questions; replayed attempts are none.

        Of equally new ones it is the one with the last rollout id, so that the order of a batch changes nothing.
        """
        found = (rollout for group in groups for rollout in group.rollouts if not rollout.replayed)
        return _newest(_own(rollout) for rollout in found if rollout.tokens and self.succeeded(rollout))

    def keep(self, successes: Iterable[Rollout]) -> int:
        """Take in what is newer than what is there, and say how many came in. Ranks give those of all ranks."""
        return sum(self._put(rollout) for rollout in _newest(successes))

    def _put(self, rollout: Rollout) -> bool:
        before = self._kept.get(rollout.question_id)
        if before is not None and before.version > rollout.version:
            return False
        if _bytes(rollout) > self.settings.max_bytes:
            self.counts["evicted"] += 1
            return False
        if before is not None:
            self._drop(rollout.question_id)
        self._kept[rollout.question_id] = rollout
        self.bytes += _bytes(rollout)
        self.counts["stored"] += 1
        while self.bytes > self.settings.max_bytes:
            self._drop(next(iter(self._kept)))
            self.counts["evicted"] += 1
        return True

    def _drop(self, question_id: str) -> None:
        self.bytes -= _bytes(self._kept.pop(question_id))

    # And come back ---------------------------------------------------------------------------------------------------

    def failed(self, group: Group) -> bool:
        """Whether all graded attempts failed, and there are two at least: a success alone has nothing to be better than."""
        told = [told for rollout in group.rollouts if (told := self.succeeded(rollout)) is not None]
        return len(told) > 1 and not any(told)

    def expire(self, now: int) -> int:
        """Drop successes that are too old, and say how many. `now`: updates that the weights have seen."""
        old = [question_id for question_id, kept in self._kept.items() if self._too_old(kept, now)]
        for question_id in old:
            self._drop(question_id)
        self.counts["expired"] += len(old)
        return len(old)

    def replace(self, group: Group, *, epoch: int, now: int) -> Group:
        """The group, with one of its attempts replaced by the stored success if all of them failed; else the same object.

        Which one makes way is drawn from seed, question and epoch. Changes nothing in the store.
        """
        kept = self._kept.get(group.question_id)
        if kept is None or self._too_old(kept, now) or not self.failed(group):
            return group
        graded = sorted(rollout.rollout_id for rollout in group.rollouts if self.succeeded(rollout) is not None)
        leaving = rng_for(self.seed, "replay", group.question_id, epoch).choice(graded)
        coming = dataclasses.replace(kept, rollout_id=f"{leaving}<-{kept.rollout_id}", replayed=True)
        return Group(
            group.question_id,
            tuple(coming if rollout.rollout_id == leaving else rollout for rollout in group.rollouts),
        )

    def count(self, *, replayed: int, unmended: int) -> None:
        """Note what a batch needed: groups that got a success, and failed ones for which there was none."""
        self.counts["replayed"] += replayed
        self.counts["unmended"] += unmended

    def _too_old(self, kept: Rollout, now: int) -> bool:
        return self.settings.max_age is not None and now - kept.version > self.settings.max_age

    def statistics(self) -> dict[str, float]:
        """Counts are totals of the run."""
        totals = {f"replay/{name}": float(count) for name, count in self.counts.items()}
        return {"replay/questions": float(len(self)), "replay/bytes": float(self.bytes)} | totals

    # Where it stands -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that is kept, as plain values and three arrays: the tokens of all successes, one behind the other."""
        kept = list(self._kept.values())
        parts = [part for rollout in kept for part in rollout.sequences]
        return {
            "version": STATE_VERSION,
            "seed": self.seed,
            "counts": dict(self.counts),
            "kept": [
                {name: getattr(rollout, name) for name in PLAIN_FIELDS}
                | {"rewards": dict(rollout.rewards), "lengths": [len(part.input_ids) for part in rollout.sequences]}
                for rollout in kept
            ],
            "input_ids": _joined([part.input_ids for part in parts], np.int64),
            "written": _joined([part.written for part in parts], np.bool_),
            "logprobs": _joined([part.logprobs for part in parts], np.float32),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises `CheckpointError` for what is no state of a store; the store stays as it was."""
        if state.get("version") != STATE_VERSION:
            raise CheckpointError(
                f"this is no state of a replay store of version {STATE_VERSION}: version {state.get('version')!r}. Resume with "
                "the release that wrote it, or begin with an empty store."
            )
        if state["seed"] != self.seed:
            raise CheckpointError(
                f"this replay store drew its lots with seed {state['seed']}, here it is {self.seed}. Resume with the seed that "
                "the run began with."
            )
        ids: NDArray[np.int64] = np.asarray(state["input_ids"], np.int64)
        written: NDArray[np.bool_] = np.asarray(state["written"], np.bool_)
        logprobs: NDArray[np.float32] = np.asarray(state["logprobs"], np.float32)
        tokens = sum(sum(entry["lengths"]) for entry in state["kept"])
        if {len(ids), len(written), len(logprobs)} != {tokens}:
            raise CheckpointError(
                f"this replay store has {len(ids)} ids, {len(written)} marks and {len(logprobs)} log-probabilities for "
                f"{tokens} tokens: it was cut off or changed. Resume from an earlier checkpoint."
            )
        kept, first = {}, 0
        for entry in state["kept"]:
            parts = []
            for length in entry["lengths"]:
                here = slice(first, first + length)
                parts.append(Sampled(ids[here].copy(), written[here].copy(), logprobs[here].copy()))
                first += length
            plain = {name: entry[name] for name in PLAIN_FIELDS}
            kept[entry["question_id"]] = Rollout(sequences=tuple(parts), rewards=dict(entry["rewards"]), **plain)
        self._kept = kept
        self.bytes = sum(map(_bytes, kept.values()))
        self.counts = dict(state["counts"])

    def take_over(self, state: Mapping[str, Any], worth: Callable[[Rollout], float | None]) -> None:
        """Go on with what a store kept under another form of reward. `worth` is the reward of now; a success that has none,
        or is none any more, stays behind.
        """
        self.load_state_dict(state)
        for question_id, before in list(self._kept.items()):
            kept = dataclasses.replace(before, reward=worth(before))
            if self.succeeded(kept):
                self._kept[question_id] = kept
            else:
                self._drop(question_id)


def _newest(rollouts: Iterable[Rollout]) -> list[Rollout]:
    best: dict[str, Rollout] = {}
    for rollout in rollouts:
        before = best.get(rollout.question_id)
        if before is None or _newness(rollout) > _newness(before):
            best[rollout.question_id] = rollout
    return [best[question_id] for question_id in sorted(best)]


def _newness(rollout: Rollout) -> tuple[int, str]:
    return rollout.version, rollout.rollout_id


def _bytes(rollout: Rollout) -> int:
    return sum(len(part.input_ids) for part in rollout.sequences) * BYTES_PER_TOKEN


def _own(rollout: Rollout) -> Rollout:
    """Without the transcript, and with arrays that nobody else writes to."""
    parts = tuple(
        Sampled(
            np.array(part.input_ids, np.int64), np.array(part.written, np.bool_), np.array(part.logprobs, np.float32)
        )
        for part in rollout.sequences
    )
    return dataclasses.replace(rollout, sequences=parts, transcript=None, rewards=dict(rollout.rewards))


def _joined(arrays: Sequence[NDArray[Any]], dtype: DTypeLike) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *arrays])
