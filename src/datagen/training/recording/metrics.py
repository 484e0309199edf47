"""The figures that a run records: what each is, in which unit, and when it is worth an alarm.

`METRICS` is what the report, the monitors and the docs read. A figure that is not in it is recorded and drawn as well, under
"other", without a unit. Losses give theirs by the names of their measures (`training.tokens.Loss`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of an update."""

    name: str
    unit: str
    """nats, tokens, share (of 1), seconds, ...; empty for a bare number."""
    meaning: str
    alarm: str = ""
    """In words, when `training.monitors` raises one."""


_ALL = (
    # --- loss and optimiser
    Metric("loss", "", "What was minimised, over the whole update."),
    Metric("nll", "nats", "Mean negative log-likelihood of the imitated tokens."),
    Metric("likely", "share", "Imitated tokens that have more than half of the probability: greedy decoding writes them."),
    Metric("margin", "nats", "Implicit reward of the chosen attempt minus that of the rejected one."),
    Metric("preferred", "share", "Pairs in which the chosen attempt has the greater implicit reward."),
    Metric("preference_loss", "", "Mean loss of a pair: ln 2 at the beginning."),
    Metric("reward_chosen", "nats", "Implicit reward of the chosen attempt: beta times its log-ratio to the start."),
    Metric("reward_rejected", "nats", "The same of the rejected one."),
    Metric("logprob_chosen", "nats", "Mean log-probability of a token of chosen attempts.", "1 below its beginning"),
    Metric("logprob_rejected", "nats", "The same of rejected ones."),
    Metric("clipped", "share", "Updates whose gradient was clipped."),
    Metric("learning_rate", "", "Of AdamW, in this update."),
    Metric("grad_norm", "", "Norm of the gradient before clipping.", "more than 10 times the median of the last 20"),
    # --- policy against itself, the sampler and the reference
    Metric("ratio", "", "Mean probability ratio of new to old policy; 1 in the first minibatch."),
    Metric("ratio_squared", "", "Mean square of that ratio: 1 / it is the share of samples that effectively count."),
    Metric("kl_old_new", "nats", "Divergence from the policy that sampled (k3), per token.", "above 0.1 in 3 updates running"),
    Metric("kl_ref", "nats", "Divergence from the reference model, per token.", "above 1 in 3 updates running"),
    Metric("logprob_gap", "nats", "Mean difference, as an absolute value, of a token's log-probability in learner and sampler.", "above 0.05 in 3 updates running"),
    Metric("logprob_gap_max", "nats", "The largest such difference.", "above 3 in 3 updates running"),
    Metric("entropy", "nats", "Mean entropy of the trained tokens.", "below 0.2 times its beginning; above 2.5 times its beginning and 0.5 over it"),
    Metric("clip_low", "share", "Tokens whose ratio was cut from below.", "above 0.2 in 3 updates running"),
    Metric("clip_high", "share", "Tokens whose ratio was cut from above.", "above 0.2 in 3 updates running"),
    Metric("clip_dual", "share", "Tokens of negative advantage whose loss was bounded."),
    Metric("kept_weight", "", "What corrections and masks left of the weight of tokens, on average.", "at most 0.5 in 3 updates running"),
    Metric("logprob_positive", "nats", "Mean log-probability of tokens with a positive advantage.", "1 below its beginning"),
    Metric("logprob_negative", "nats", "Mean log-probability of tokens with a negative advantage: falls when they are pushed away.", "3 below its beginning"),
    # --- attempts
    Metric("reward", "", "Mean reward of the attempts that have one."),
    Metric("success", "share", "Right answers among the graded attempts at training questions."),
    Metric("tool_calls", "per attempt", "Searches and visits.", "at most 0 in 3 updates running; below 0.3 times its beginning"),
    Metric("searches", "per attempt", "Searches."),
    Metric("visits", "per attempt", "Pages opened."),
    Metric("unique_searches", "per attempt", "Searches that are not nearly an earlier one (spec fathom §3.1, as the next four)."),
    Metric("redundant_searches", "per attempt", "Searches nearly like an earlier one, by words or by results."),
    Metric("explorations", "per attempt", "New pages that state a clue which no other has stated, or none."),
    Metric("verifications", "per attempt", "New pages that only state clues which others have stated."),
    Metric("redundant_queries", "per attempt", "Pages opened again, or to verify once too often."),
    Metric("turns", "per attempt", "Turns."),
    Metric("parse_failures", "per attempt", "Turns that were no call and no answer.", "above 0.5 in 3 updates running"),
    Metric("answered", "share", "Attempts that ended with an answer."),
    Metric("truncated", "share", "Attempts cut off by a limit of turns, tokens or context.", "above 0.3 in 3 updates running"),
    Metric("tokens_per_rollout", "tokens", "Tokens that the policy wrote in an attempt.", "above 2.5 times its beginning; below 0.4 times its beginning"),
    Metric("tokens_per_row", "tokens", "Reinforced tokens of a row."),
    Metric("missing", "attempts", "Attempts without a reward."),
    Metric("reward_faults", "attempts", "Attempts on which the reward function raised."),
    Metric("infrastructure_failures", "share", "Attempts without a reward because something other than the policy broke.", "above 0.1 in 3 updates running"),
    # --- groups
    Metric("zero_variance", "share", "Groups whose rewards are all equal: they carry no gradient.", "above 0.8 in 5 updates running"),
    Metric("groups", "groups", "Questions with their attempts, as sampled."),
    Metric("compared_groups", "groups", "Those that learning gets."),
    Metric("good_groups", "groups", "Of them those whose rewards differ."),
    Metric("singletons", "groups", "Groups with a single reward, which is compared with nothing."),
    Metric("tied_right", "share", "Groups with equal rewards in which every attempt is right."),
    Metric("tied_wrong", "share", "Groups with equal rewards in which none is."),
    Metric("skipped", "share", "Batches without anything to learn: no weight was changed."),
    Metric("updates", "", "Updates of the weights from one batch."),
    Metric("unmended", "groups", "Failed groups without a success in store."),
    Metric("solved_groups", "share", "Groups in which every attempt is right."),
    Metric("failed_groups", "share", "Groups in which none is."),
    Metric("carrying", "attempts", "Attempts that carry a gradient."),
    Metric("advantage_scale", "", "RAPO's factor on all advantages: groups / good groups, or attempts of a group / good groups."),
    Metric("replayed", "attempts", "Failed attempts that gave way to an earlier success."),
    Metric("replay_age", "updates", "Age of the successes that were replayed, on average."),
    Metric("replay/questions", "questions", "Questions with a success in store."),
    Metric("replay/bytes", "bytes", "What the store holds."),
    Metric("replay/stored", "attempts", "Successes that were stored since the run began."),
    Metric("replay/replayed", "attempts", "Those that were replayed since then."),
    Metric("replay/unmended", "groups", "Failed groups without a success in store, since then."),
    Metric("replay/expired", "attempts", "Successes that grew too old, since then."),
    Metric("replay/evicted", "attempts", "Successes that gave way to others, since then."),
    Metric("pool/epoch", "", "Passes over the questions so far."),
    Metric("pool/epoch_share", "share", "How much of this pass is done."),
    Metric("pool/active", "questions", "Questions that are still drawn."),
    Metric("pool/pruned", "questions", "Questions left out because they are solved."),
    Metric("pool/recycled", "questions", "Questions that came back."),
    Metric("resampling/rounds", "", "Draws beyond the first, for groups that carry a gradient."),
    Metric("resampling/groups", "groups", "Groups that were sampled for this update."),
    Metric("resampling/good_groups", "groups", "Of them those that carry a gradient."),
    Metric("resampling/short", "groups", "How many such groups were wanting in the end."),
    # --- speed
    Metric("staleness", "updates", "How many updates the policy was ahead of the weights that sampled, on average.", "above 4 in 3 updates running"),
    Metric("staleness_max", "updates", "The same, for the oldest attempt.", "above 8 in 3 updates running"),
    Metric("waiting", "share", "Where sampling runs ahead: time in which the learner waited for attempts.", "above 0.5 in 10 updates running"),
    Metric("step_s", "seconds", "One update in all."),
    Metric("sampling_s", "seconds", "Attempts, with their tool calls."),
    Metric("attempt_s", "seconds", "One attempt from beginning to end, on average; many are under way at once."),
    Metric("generation_s", "seconds", "Of it, waiting for the engine."),
    Metric("tools_s", "seconds", "Of it, in tools."),
    Metric("learning_s", "seconds", "Forward, backward and optimiser."),
    Metric("sync_s", "seconds", "New weights to the sampler."),
    Metric("data/tokens", "tokens", "Tokens of sequences since the phase began; other figures of data/ are sequences passed over, by reason."),
    Metric("trained_tokens", "tokens", "Tokens with a weight in the loss."),
    Metric("forwarded_tokens", "tokens", "Tokens that went through the model, prompts and results included."),
    Metric("sampled_tokens", "tokens", "Tokens that the policy wrote."),
    Metric("tokens_per_s", "tokens/s", "Tokens forwarded and learnt from, per second of learning."),
    Metric("sampled_tokens_per_s", "tokens/s", "Tokens written per second of sampling."),
    Metric("padding_share", "share", "Tokens computed that are padding."),
    Metric("bins", "", "Forward passes of one rank."),
    Metric("rows", "", "Sequences that were trained on."),
    Metric("memory_mb", "MB", "The most that was in use since the process began: on its GPU, or else by the process."),
)  # fmt: skip
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}


@dataclass(frozen=True, slots=True)
class Panel:
    """Metrics that share one plot, in the order of the report."""

    title: str
    metrics: tuple[str, ...]
    log: bool = False
    """A logarithmic axis, for figures over several powers of ten."""


PANELS = (
    Panel("Reward and success on training questions", ("reward", "success")),
    Panel("Likelihood of demonstrations", ("nll",)),
    Panel("Imitated tokens that are likely", ("likely",)),
    Panel("Implicit reward of pairs", ("margin", "reward_chosen", "reward_rejected")),
    Panel("Likelihood of pairs", ("logprob_chosen", "logprob_rejected")),
    Panel("Pairs ordered rightly", ("preferred",)),
    Panel("Loss", ("loss",)),
    Panel("Entropy", ("entropy",)),
    Panel("Divergence", ("kl_old_new", "kl_ref")),
    Panel("Learner against sampler", ("logprob_gap", "logprob_gap_max"), log=True),
    Panel("Clipped tokens", ("clip_low", "clip_high", "clip_dual")),
    Panel("Likelihood of right and of wrong attempts", ("logprob_positive", "logprob_negative")),
    Panel("Groups", ("zero_variance", "solved_groups", "failed_groups")),
    Panel("Attempts that carry a gradient", ("carrying", "replayed")),
    Panel("Questions drawn and left out", ("pool/active", "pool/pruned")),
    Panel("Scale of advantages", ("advantage_scale",)),
    Panel("Use of tools", ("searches", "visits", "turns")),
    Panel(
        "What calls were worth",
        ("unique_searches", "explorations", "verifications", "redundant_searches", "redundant_queries"),
    ),
    Panel("What goes wrong in attempts", ("parse_failures", "truncated", "infrastructure_failures")),
    Panel("Length of attempts", ("tokens_per_rollout",)),
    Panel("Norm of the gradient", ("grad_norm",), log=True),
    Panel("Learning rate", ("learning_rate",)),
    Panel("Speed", ("tokens_per_s", "sampled_tokens_per_s")),
    Panel("Where an update's time goes", ("sampling_s", "learning_s", "sync_s")),
    Panel("Time of an update", ("step_s",)),
    Panel("Where an attempt's time goes", ("attempt_s", "generation_s", "tools_s")),
    Panel("Waiting for attempts", ("waiting",)),
    Panel("Staleness", ("staleness", "staleness_max")),
    Panel("Memory", ("memory_mb",)),
)


def metrics_table() -> str:
    """`METRICS` as a table in Markdown, for the docs."""
    lines = ["| metric | unit | what it is | alarm |", "|---|---|---|---|"]
    lines += [f"| `{m.name}` | {m.unit} | {m.meaning} | {m.alarm} |" for m in METRICS.values()]
    return "\n".join(lines) + "\n"
