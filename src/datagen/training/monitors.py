"""Alarms over the stream of figures: what has gone wrong in other people's runs, looked for in this one.

    monitors = Monitors(stop_on=("not_a_number",))
    monitors.observe("rl", 3, {"tool_calls": 0.0})      third update in a row without a call:

    Update 3 of rl: the model never calls a tool, in 3 updates running. Look at a transcript: ...

Entropy is looked at beside a reward alone: where demonstrations are imitated, it is meant to fall.

A rule fires when its condition begins to hold, and again only after it has not held for `QUIET` updates. Alarms end nothing,
unless `stop_on` names their rule. What monitors know is a function of the stream: after a resume they are shown what is left
of it (`replay`). Which runs taught which rule stands in spec rl_algorithms §5 and trainers §5.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Literal, Protocol

from datagen.errors import ConfigError, TrainingError
from datagen.training.recording.alarms import Alarm
from datagen.training.recording.evaluations import EvaluationRecord
from datagen.training.recording.stream import MetricLine

Values = Mapping[str, float | None]
HEAD = 5
"""Updates whose mean is the beginning of a phase, and of the window that is compared with it."""
TAIL = 20
QUIET = 5


@dataclass(slots=True)
class Series:
    """One metric in one phase, finite values only: its first `HEAD` values and its last `TAIL`."""

    head: list[float] = field(default_factory=list)
    tail: deque[float] = field(default_factory=lambda: deque(maxlen=TAIL))
    count: int = 0

    def add(self, value: float) -> None:
        if len(self.head) < HEAD:
            self.head.append(value)
        self.tail.append(value)
        self.count += 1

    @property
    def beginning(self) -> float:
        return fmean(self.head)

    @property
    def now(self) -> float:
        return fmean(list(self.tail)[-HEAD:])


class Rule(Protocol):
    """A condition on one metric, looked at after each update that measured it."""

    @property
    def name(self) -> str: ...

    @property
    def metric(self) -> str: ...

    @property
    def beside(self) -> str:
        """Another metric that has to be measured in the same update; empty for none."""
        ...

    @property
    def condition(self) -> str:
        """In words, as it stands in `METRICS`."""
        ...

    def finding(self, series: Series) -> str | None:
        """What is the matter, with figures; None where nothing is."""
        ...


@dataclass(frozen=True, slots=True)
class Beyond:
    """The metric is on the wrong side of a limit in several updates running."""

    name: str
    metric: str
    limit: float
    says: str
    """May name {value}, the last one, and {updates}."""
    side: Literal["above", "at most"] = "above"
    updates: int = 3
    beside: str = ""

    @property
    def condition(self) -> str:
        limit = f"above {self.limit:g}" if self.side == "above" else f"at most {self.limit:g}"
        return f"{limit} in {self.updates} updates running"

    def finding(self, series: Series) -> str | None:
        last = list(series.tail)[-self.updates :]
        beyond = [value > self.limit if self.side == "above" else value <= self.limit for value in last]
        if len(last) < self.updates or not all(beyond):
            return None
        return self.says.format(value=last[-1], updates=self.updates)


@dataclass(frozen=True, slots=True)
class Drift:
    """The mean of the last `HEAD` updates has left the mean of the first: by a factor, or by a difference."""

    name: str
    metric: str
    says: str
    """May name {beginning} and {now}."""
    factor: float | None = None
    """Below 1: it fell below that share of its beginning; above 1: it rose above that many times."""
    fall: float | None = None
    """It fell by more than this."""
    least: float = 0.0
    """A change smaller than this is none, whatever the factor."""
    beside: str = ""

    @property
    def condition(self) -> str:
        if self.factor is None:
            return f"{self.fall:g} below its beginning"
        side = "below" if self.factor < 1 else "above"
        return f"{side} {self.factor:g} times its beginning" + (f" and {self.least:g} over it" if self.least else "")

    def finding(self, series: Series) -> str | None:
        if series.count < 2 * HEAD:
            return None
        beginning, now = series.beginning, series.now
        if self.factor is None:
            drifted = self.fall is not None and now < beginning - self.fall
        elif self.factor < 1:
            drifted = now < self.factor * beginning
        else:
            drifted = now > self.factor * beginning and now - beginning > self.least
        return self.says.format(beginning=beginning, now=now) if drifted else None


@dataclass(frozen=True, slots=True)
class Spike:
    """One value far above the median of those before it."""

    name: str
    metric: str
    says: str
    """May name {value} and {usual}."""
    factor: float = 10.0
    beside: str = ""

    @property
    def condition(self) -> str:
        return f"more than {self.factor:g} times the median of the last {TAIL}"

    def finding(self, series: Series) -> str | None:
        if series.count < HEAD + 1:
            return None
        *before, value = series.tail
        usual = median(before)
        return self.says.format(value=value, usual=usual) if value > self.factor * usual else None


RULES: tuple[Rule, ...] = (
    Beyond("logprob_gap", "logprob_gap", 0.05,
        "learner and sampler disagree by {value:.3f} nats per token, in {updates} updates running. Check that the sampler has the newest "
        "weights and the temperature of the learner; else set a correction of the loss."),
    Beyond("logprob_gap_max", "logprob_gap_max", 3.0,
        "for some token learner and sampler disagree by {value:.1f} nats, in {updates} updates running. Look for a cut distribution "
        "(top_p below 1) or text that was tokenised again."),
    Beyond("kl_old_new", "kl_old_new", 0.1,
        "one batch moves the policy by {value:.2f} nats per token, in {updates} updates running. Lower the learning rate or take fewer minibatches."),
    Beyond("kl_ref", "kl_ref", 1.0,
        "the policy is {value:.2f} nats per token away from its reference, in {updates} updates running."),
    Beyond("clip_low", "clip_low", 0.2, "{value:.0%} of tokens are clipped from below, in {updates} updates running: they teach nothing."),
    Beyond("clip_high", "clip_high", 0.2, "{value:.0%} of tokens are clipped from above, in {updates} updates running: they teach nothing."),
    Beyond("kept_weight", "kept_weight", 0.5,
        "corrections and masks leave {value:.2f} of the weight of tokens, in {updates} updates running.", side="at most"),
    Beyond("no_calls", "tool_calls", 0.0,
        "the model never calls a tool, in {updates} updates running. Look at a transcript: a parser that does not fit the model's way "
        "of calling, a template without tools, or a policy that has learnt to guess.", side="at most"),
    Drift("calls_fade", "tool_calls", "tool calls per attempt have gone from {beginning:.1f} to {now:.1f}: the policy stops searching.", factor=0.3),
    Beyond("parse_failures", "parse_failures", 0.5,
        "{value:.2f} turns per attempt are no call and no answer, in {updates} updates running. Look at a transcript, and imitate attempts first."),
    Beyond("zero_variance", "zero_variance", 0.8,
        "{value:.0%} of groups have equal rewards, in {updates} updates running, and carry no gradient: the questions are too easy or too "
        "hard for this policy.", updates=5),
    Beyond("truncated", "truncated", 0.3, "{value:.0%} of attempts are cut off by a limit, in {updates} updates running."),
    Beyond("infrastructure", "infrastructure_failures", 0.1,
        "{value:.0%} of attempts broke through no fault of the policy, in {updates} updates running. Look at the engine's and the tools' logs."),
    Drift("entropy_dies", "entropy", "entropy has gone from {beginning:.3f} to {now:.3f} nats: attempts at a question become alike. "
        "A higher clip_high or an entropy term holds it up.", factor=0.2, beside="reward"),
    Drift("entropy_rises", "entropy", "entropy has gone from {beginning:.3f} to {now:.3f} nats: the policy is coming apart.", factor=2.5, least=0.5,
        beside="reward"),
    Drift("displacement", "logprob_positive", "the tokens of better attempts have gone from {beginning:.2f} to {now:.2f} nats: "
        "the likelihood of what is right falls while it is reinforced.", fall=1.0),
    Drift("displacement_negative", "logprob_negative", "the tokens of worse attempts have gone from {beginning:.2f} to {now:.2f} nats: "
        "pushing away what is wrong outweighs learning what is right.", fall=3.0),
    Drift("displacement_chosen", "logprob_chosen", "the tokens of chosen attempts have gone from {beginning:.2f} to {now:.2f} nats: "
        "the likelihood of what is preferred falls. Imitate the chosen attempts beside it, or lower beta.", fall=1.0),
    Drift("length_rises", "tokens_per_rollout", "attempts have grown from {beginning:,.0f} to {now:,.0f} tokens.", factor=2.5),
    Drift("length_falls", "tokens_per_rollout", "attempts have shrunk from {beginning:,.0f} to {now:,.0f} tokens.", factor=0.4),
    Spike("grad_norm", "grad_norm", "the gradient's norm is {value:.3g}, {usual:.3g} before. Keep this batch's rows if it comes again."),
    Beyond("staleness", "staleness", 4.0, "attempts are {value:.1f} updates old on average, in {updates} updates running. Lower the bound of staleness."),
    Beyond("staleness_max", "staleness_max", 8.0, "an attempt was begun {value:.0f} updates ago, in {updates} updates running. Lower the bound of staleness."),
    Beyond("waiting", "waiting", 0.5,
        "the learner waits {value:.0%} of the time for attempts, in {updates} updates running. Add samplers, or let more attempts be under way.", updates=10),
)  # fmt: skip
OTHER_RULES: Mapping[str, str] = {
    "not_a_number": "a figure is no number",
    "reward_without_success": "reward has risen by more than 0.1 in a phase, and success on held-out questions has not risen",
    "success_falls": "success on held-out questions is below its best, with intervals that do not touch",
    "guessed": "more than 0.1 of held-out questions are answered without search, at the lower end of the interval",
}
"""Conditions on more than one metric, by name of the rule."""
REWARD_RISE = 0.1
GUESSED = 0.1


class Monitors:
    """All rules, and what they have seen."""

    def __init__(self, *, rules: Sequence[Rule] = RULES, stop_on: Collection[str] = ()) -> None:
        """`stop_on`: names of rules whose alarm ends the run. Raises `ConfigError` for one that does not exist."""
        names = sorted({rule.name for rule in rules} | OTHER_RULES.keys())
        unknown = sorted(set(stop_on) - set(names))
        if unknown:
            raise ConfigError(f"stop_on names {', '.join(unknown)}, which is no rule; the rules are {', '.join(names)}")
        self._rules = tuple(rules)
        self._stop_on = frozenset(stop_on)
        self._clear()

    def _clear(self) -> None:
        self._series: dict[tuple[str, str], Series] = {}
        self._quiet: dict[tuple[str, str], int] = {}
        self._measured: dict[tuple[str, str, str], list[EvaluationRecord]] = {}

    def observe(self, phase: str, step: int, values: Values) -> list[Alarm]:
        """Look at one update."""
        wrong = [name for name, value in values.items() if value is not None and not math.isfinite(value)]
        found = {"not_a_number": f"{', '.join(wrong)} is no number." if wrong else None}
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                self._series.setdefault((phase, name), Series()).add(value)
        for rule in self._rules:
            measured = values.get(rule.metric) is not None and rule.metric not in wrong
            if measured and (not rule.beside or values.get(rule.beside) is not None):
                found[rule.name] = rule.finding(self._series[phase, rule.metric])
        return self._alarms(phase, step, found)

    def observe_evaluation(self, record: EvaluationRecord) -> list[Alarm]:
        """Look at one measurement on held-out questions."""
        if record.n == 0:
            return []
        place = f"{record.phase}/{record.set}/{record.mode}"
        if record.mode == "no_search":
            return self._alarms(record.phase, record.step, {"guessed": _guessed(record)}, place)
        earlier = self._measured.setdefault((record.phase, record.set, record.mode), [])
        found = {
            "success_falls": _fallen(record, earlier),
            "reward_without_success": self._hollow(record, earlier),
        }
        earlier.append(record)
        return self._alarms(record.phase, record.step, found, place)

    def replay(self, lines: Iterable[MetricLine], evaluations: Iterable[EvaluationRecord]) -> None:
        """Begin again with what is left of the stream; raises no alarm."""
        self._clear()
        measured = sorted(evaluations, key=lambda record: record.step)
        for line in lines:
            due = [record for record in measured if record.phase == line.phase and record.step < line.step]
            for record in due:
                self.observe_evaluation(record)
                measured.remove(record)
            self.observe(line.phase, line.step, line.values)
        for record in measured:
            self.observe_evaluation(record)

    def check(self, alarms: Sequence[Alarm]) -> None:
        """Raises `TrainingError` for the first alarm that `stop_on` names."""
        for alarm in alarms:
            if alarm.rule in self._stop_on:
                raise TrainingError(
                    f"{alarm.sentence} The run ends here, for stop_on names {alarm.rule!r}; the last checkpoint is whole. "
                    "Resume without the rule in stop_on, or train anew with other settings."
                )

    def _alarms(self, phase: str, step: int, found: Mapping[str, str | None], place: str = "") -> list[Alarm]:
        """Those that begin to hold. A rule that held is quiet until it has not held for `QUIET` looks, unless it ends the run."""
        alarms = []
        for rule, sentence in found.items():
            key = (rule, place or phase)
            quiet = self._quiet.get(key, QUIET)
            if sentence is not None and (quiet >= QUIET or rule in self._stop_on):
                alarms.append(Alarm(phase, step, rule, f"Update {step:,} of {phase}: {sentence}"))
            self._quiet[key] = 0 if sentence is not None else quiet + 1
        return alarms

    def _hollow(self, record: EvaluationRecord, earlier: Sequence[EvaluationRecord]) -> str | None:
        reward = self._series.get((record.phase, "reward"))
        if reward is None or reward.count < 2 * HEAD or len(earlier) < 2:
            return None
        first, now = earlier[0].success or 0.0, record.success or 0.0
        if reward.now - reward.beginning <= REWARD_RISE or now > first:
            return None
        return (
            f"reward has gone from {reward.beginning:.2f} to {reward.now:.2f}, and success on {record.set} "
            f"({record.mode_name}) from {first:.1%} to {now:.1%}: the policy learns its training questions by heart, or the "
            "reward pays for something other than right answers."
        )


def _fallen(record: EvaluationRecord, earlier: Sequence[EvaluationRecord]) -> str | None:
    best, now = max(earlier, key=lambda one: one.success or 0.0, default=None), record.interval()
    top = None if best is None else best.interval()
    if best is None or top is None or now is None or now.high >= top.low:
        return None
    return (
        f"success on {record.set} ({record.mode_name}) is {now.value:.1%}, and was {top.value:.1%} after update "
        f"{best.step:,}; the difference is no chance. The checkpoint of then is the better one."
    )


def _guessed(record: EvaluationRecord) -> str | None:
    found = record.interval()
    if found is None or found.low <= GUESSED:
        return None
    return (
        f"{found.value:.1%} of {record.set} are answered without search ({found.low:.1%} to {found.high:.1%}): "
        "success on them is not all due to searching."
    )
