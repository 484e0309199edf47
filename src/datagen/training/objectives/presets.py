"""Published algorithms by name: each is a choice of advantages, of a loss, of an aggregation, and of what goes on around.

    preset("grpo")                                     as published
    preset("grpo", clip_high=0.28)                     a setting of the algorithm, of its loss or of its advantages
    preset("rapo", **{"prune.threshold": 0.8})         a setting of a part
    preset("rapo", replay=None, scale=False)           without parts
    preset("rapo", scale_by="attempts")                to the letter of the paper
    preset("grpo", prune={}, loss={"dual_clip": 3.0})  with a part as it is by default; several settings of one

    name      advantages              loss                             aggregation       around it
    grpo      group, ddof 1           clip 0.2 / 0.2                   sequence_mean
    dapo      group, ddof 1           clip 0.2 / 0.28                  token_mean        dynamic sampling, overlong penalty
    dr_grpo   no scale                clip 0.2 / 0.2                   constant_length   `max_length` has to be given
    gspo      group, ddof 1           clip 3e-4 / 4e-4, sequence       sequence_mean
    cispo     batch, ddof 1           cispo, cap 5                     token_mean
    rapo      group, ddof 0, eps 0    clip 0.2 / 0.2                   sequence_mean     prune, scale, replay

Sources: spec rl_algorithms §1.4 (TRL's and verl's recipes); rapo: Fathom-DeepResearch, arXiv 2509.24107, spec fathom §2.
That paper reports no clip range (0.2 is that of the framework it builds on) and no coefficient for the divergence that it
mentions (0 here). None of them has one: `kl_coef` weighs a divergence from a reference where one is wanted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from datagen.errors import ConfigError
from datagen.training.objectives.advantages import AdvantageSettings, overlong_penalty
from datagen.training.objectives.aggregation import Aggregation
from datagen.training.objectives.correction import Correction
from datagen.training.objectives.policy import PolicyLoss


@dataclass(frozen=True, slots=True)
class Prune:
    """RAPO (a): a question that is solved so often in an epoch leaves the pool."""

    threshold: float = 0.9
    recycle_after: int | None = None
    """Epochs after which it comes back; None for never, as in the paper."""


@dataclass(frozen=True, slots=True)
class Replay:
    """RAPO (c): where a whole group fails, the newest success at the question takes the place of one attempt."""

    ratio: Literal["recompute", "behaviour"] = "recompute"
    """What the ratio of replayed tokens is taken to: log-probabilities of the policy of now, or of the one that wrote."""
    max_age: int | None = None
    """Updates that a success may be old."""

    def __post_init__(self) -> None:
        if self.ratio not in ("recompute", "behaviour"):
            raise ConfigError(f"replay.ratio is {self.ratio!r}; choose recompute or behaviour")


@dataclass(frozen=True, slots=True)
class Overlong:
    """DAPO: an attempt that nears the most tokens it may write is charged for the last of them."""

    buffer_share: float = 0.2
    """Of the cap. The paper: 4,096 of 20,480."""
    factor: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.buffer_share <= 1:
            raise ConfigError(f"overlong.buffer_share is {self.buffer_share}; it lies above 0 and at most at 1")

    def penalty(self, length: int, cap: int) -> float:
        """To add to the reward of an attempt of `length` tokens out of at most `cap`."""
        return overlong_penalty(length, cap=cap, buffer=max(1, round(self.buffer_share * cap)), factor=self.factor)


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What tells one algorithm from another; sizes of batches and groups and the optimiser are not part of it."""

    name: str
    advantage: AdvantageSettings = field(default_factory=AdvantageSettings)
    loss: PolicyLoss = field(default_factory=PolicyLoss)
    aggregation: Aggregation = "sequence_mean"
    max_length: int | None = None
    """Divisor of the aggregation constant_length."""
    high_entropy_share: float | None = None
    """Reinforces this share of the tokens of an update alone, those of the highest entropy: 0.2 in the 80/20 rule (spec
    rl_algorithms §1.5). Costs a forward pass more."""
    count_empty: bool = False
    """Whether sequences without a trained token count as sequences (TRL: yes, verl: no)."""
    kl_coef: float = 0.0
    """Weight of the divergence from the reference beside the loss, under the same aggregation."""
    success: Literal["answer", "reward"] = "answer"
    """What pruning and replay call a success: a right answer; or, to the letter of the paper, a total reward above 0 (and
    above 0.5 to be kept), which a well-formed wrong attempt reaches."""
    prune: Prune | None = None
    scale: bool = False
    """RAPO (b): advantages times groups / good groups."""
    scale_by: Literal["groups", "attempts"] = "groups"
    """What stands above that fraction. attempts: those at one question, which is the letter of the paper: its formula has G
    there, and G is the size of a group elsewhere in it (spec fathom §2.3). That factor is below 1 where the good groups are
    more than the attempts of each."""
    max_scale: float | None = None
    """Most that this factor may be; the paper has no such cap."""
    replay: Replay | None = None
    dynamic_sampling: bool = False
    """DAPO: groups without a signal are thrown away and others sampled in their place."""
    max_resamples: int = 10
    """Rounds of that after the first, at most; a batch that is still short is trained on as it is, and counted."""
    overlong: Overlong | None = None
    filter_overlong: bool = False
    """Attempts that were cut off at their last token train nothing (DAPO's overlong filtering)."""

    def __post_init__(self) -> None:
        if self.aggregation not in get_args(Aggregation):
            raise ConfigError(f"aggregation is {self.aggregation!r}; choose one of {', '.join(get_args(Aggregation))}")
        if self.success not in ("answer", "reward"):
            raise ConfigError(f"success is {self.success!r}; choose answer or reward")
        if self.high_entropy_share is not None and not 0 < self.high_entropy_share <= 1:
            raise ConfigError(f"high_entropy_share is {self.high_entropy_share}; it lies above 0 and at most at 1")
        if self.high_entropy_share is not None and self.loss.entropy_floor is not None:
            raise ConfigError("high_entropy_share sets loss.entropy_floor in every update; drop one of the two")
        if self.scale_by not in ("groups", "attempts"):
            raise ConfigError(f"scale_by is {self.scale_by!r}; choose groups or attempts")
        if self.max_scale is not None and self.max_scale < 1:
            raise ConfigError(f"max_scale is {self.max_scale}; take at least 1, or leave it out")


# 1e-6 as in verl and slime; TRL adds 1e-4, which moves advantages by 2e-4 relative.
_GROUP = AdvantageSettings(ddof=1, eps=1e-6)
_PRESETS = (
    Algorithm("grpo", _GROUP),
    Algorithm(
        "dapo",
        _GROUP,
        PolicyLoss(clip_low=0.2, clip_high=0.28),
        "token_mean",
        dynamic_sampling=True,
        overlong=Overlong(),
    ),
    Algorithm("dr_grpo", AdvantageSettings(scale="none"), aggregation="constant_length"),
    Algorithm("gspo", _GROUP, PolicyLoss(clip_low=3e-4, clip_high=4e-4, ratio="sequence")),
    Algorithm("cispo", AdvantageSettings(scale="batch", ddof=1, eps=1e-4), PolicyLoss("cispo", cap=5.0), "token_mean"),
    Algorithm("rapo", AdvantageSettings(ddof=0, eps=0.0), prune=Prune(), scale=True, replay=Replay()),
)
PRESETS: Mapping[str, Algorithm] = {algorithm.name: algorithm for algorithm in _PRESETS}

# Parts by the name of their field, to build them from a mapping where a preset has none.
_PARTS: Mapping[str, type[Any]] = {
    "advantage": AdvantageSettings,
    "loss": PolicyLoss,
    "correction": Correction,
    "prune": Prune,
    "replay": Replay,
    "overlong": Overlong,
}
# Parts whose settings can be named without them.
_PLAIN_PARTS = ("loss", "advantage")


def preset(name: str, /, **overrides: Any) -> Algorithm:
    """The algorithm of that name with settings laid over it; `ConfigError` for a name or setting that does not exist."""
    if name not in PRESETS:
        raise ConfigError(f"there is no algorithm {name!r}; choose one of {', '.join(PRESETS)}")
    tree: dict[str, Any] = {}
    for key, value in overrides.items():
        _place(tree, _path(key), value, key)
    algorithm: Algorithm = _with(PRESETS[name], tree, "")
    return algorithm


def _path(key: str) -> list[str]:
    """Where a setting is: what is no setting of the algorithm may be one of its loss or of its advantages."""
    path = key.split(".")
    if path[0] not in _names(Algorithm):
        for part in _PLAIN_PARTS:
            if path[0] in _names(_PARTS[part]):
                return [part, *path]
    return path


def _place(tree: dict[str, Any], path: list[str], value: Any, key: str) -> None:
    """Put a value into the tree of all overrides, so that those of one part are applied, and checked, together."""
    *parts, last = path
    for part in parts:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{key} is set, and {part} as a whole as well; drop one of them")
    if isinstance(value, Mapping):
        tree.setdefault(last, {})
        for inner, each in value.items():
            _place(tree, [last, *inner.split(".")], each, f"{key}.{inner}")
    elif last in tree:
        raise ConfigError(f"{key} is set twice; drop one of the two")
    else:
        tree[last] = value


def _with(thing: Any, tree: Mapping[str, Any], where: str) -> Any:
    """The algorithm or part with the settings of the tree replaced."""
    known = [setting for setting in _names(type(thing)) if setting != "name"]
    changed: dict[str, Any] = {}
    for name, value in tree.items():
        if name not in known:
            listed = known + ([f"{part}.*" for part in _PARTS if part in known])
            raise ConfigError(f"{where}{name} is no setting of an algorithm; {where or 'it '}has {', '.join(listed)}")
        part = _PARTS.get(name)
        if isinstance(value, dict):
            if part is None:
                raise ConfigError(f"{where}{name} is one value and has no settings of its own, such as {min(value)}")
            inner = getattr(thing, name)
            changed[name] = _with(part() if inner is None else inner, value, f"{where}{name}.")
        elif part is not None and not isinstance(value, part) and (value is not None or name in _PLAIN_PARTS):
            raise ConfigError(f"{where}{name} is {value!r}; give a table of its settings")
        else:
            changed[name] = value
    return dataclasses.replace(thing, **changed)


def _names(kind: type[Any]) -> list[str]:
    return [each.name for each in dataclasses.fields(kind)]
