"""One attempt at one question as a log of typed events, and what was found out about it afterwards.

    turn 0   thought  "The stadium lies in Veltrin and opened in 1901; the list of stadiums there should name it."
             call     search {"query": "stadiums in Veltrin"}            call_id c00000000
             result   {"results": [...]}                                 call_id c00000000, documents it showed
    turn 1   thought  ...
             call     visit {"url": ...}                                 several calls in one turn are several events
             call     visit {"url": ...}
             result   ...
             result   ...
    turn 2   answer   "Harlan Rovers"

A turn is what the model writes in one go, numbered from 0, with the results of its calls. Who wrote an event is its kind
and nothing else: `MODEL_KINDS` are the model's, the others are the program's, whatever their text looks like. Loss
masks, format checks and step labels rest on that. A result's text is the JSON of `agents.toolbox`, so every dialect can
render it in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal as OneOf

EventKind = OneOf["thought", "call", "result", "answer", "malformed", "note"]
MODEL_KINDS = frozenset({"thought", "call", "answer", "malformed"})
"""Events that the policy wrote; `result` and `note` come from the program."""
Termination = OneOf["answered", "gave_up", "budget", "turns", "tokens", "context", "time", "malformed", "error"]
"""How an attempt ended. `error` is a fault of the infrastructure: such an attempt has no reward, rather than 0."""
StepName = OneOf["UNIQUESEARCH", "REDUNDANTSEARCH", "EXPLORATION", "VERIFICATION", "REDUNDANTQUERY"]
AnswerCheck = OneOf["key", "exact", "alias", "number", "date", "judge", "none", "errored"]
"""What decided whether the answer is right; `none` for no answer, `errored` where a judge failed."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A page, or a stretch of its text, that a result showed. `start` and `end` are None for a search result's snippet
    and for passages that do not stand together on the page.
    """

    url: str
    page_id: str | None = None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that was thought, called, returned or said."""

    turn: int
    kind: EventKind
    text: str = ""
    """thought, answer, malformed: the model's words; result: what came back, as JSON; note: what the program said."""
    call_id: str | None = None
    """call, result: which belong together."""
    tool: str | None = None
    """call, result: `search` or `visit`; a call may name a tool that does not exist."""
    arguments: str | None = None
    """call: JSON text as the model wrote it, which may be malformed."""
    error: str | None = None
    """result: the code of an error (not_found, budget_spent, bad_arguments, unknown_tool, ...)."""
    documents: tuple[Shown, ...] = ()
    """result: what it showed; answer: the pages that the model named as its sources."""

    @property
    def by_model(self) -> bool:
        return self.kind in MODEL_KINDS


@dataclass(frozen=True, slots=True)
class Generation:
    """The tokens of one assistant turn as the engine gave them: never made again from text."""

    turn: int
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] = ()
    prompt_tokens: int | None = None
    finish_reason: str | None = None
    model_version: str | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a policy hands back for one attempt, before anybody has graded it."""

    events: tuple[Event, ...]
    answer: str | None
    termination: Termination
    answer_key: str | None = None
    """Key of the entity answered, where the policy names one."""
    generations: tuple[Generation, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    detail: str = ""
    """A sentence on how it ended, where there is something to say."""


@dataclass(frozen=True, slots=True)
class StepLabel:
    """What one tool call was worth (spec fathom §3.1). `call` counts the calls of the attempt from 0."""

    call: int
    turn: int
    label: StepName | None
    """None for a call that is no search and no visit, and for failed ones where these are left out."""
    claims: tuple[int, ...] = ()
    """Clues of the question that the call's result evidenced."""
    reason: str = ""
    """A short code for why: new_query, same_results, new_page, claim_seen, ..."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One graded attempt. Fields after `transcript` are filled in by `rollouts`."""

    id: str
    question_id: str
    question: str
    expected: str
    recipe: str
    policy: str
    attempt: int
    transcript: Transcript
    correct: bool | None
    """None where nobody could tell: a judge that failed, an attempt that broke."""
    answer_check: AnswerCheck
    clue_turns: tuple[int | None, ...] = ()
    """For each clue of the certificate the first turn whose results evidence it; None for one that never was."""
    seen_turn: int | None = None
    """First turn whose results state the answer."""
    said_turn: int | None = None
    """First turn in which the model names the answer."""
    labels: tuple[StepLabel, ...] = ()
    rewards: dict[str, float | None] = field(default_factory=dict)
    """By the name of the reward form; None where `correct` is None."""

    @property
    def shortcut(self) -> bool:
        """The model named the answer before anything it retrieved did (FORT's prior shortcut)."""
        return self.said_turn is not None and (self.seen_turn is None or self.said_turn <= self.seen_turn)

    @property
    def verified(self) -> bool:
        """Right, every clue evidenced by a turn, and not named before it was seen: good enough to be shown as a model."""
        evidenced = bool(self.clue_turns) and all(turn is not None for turn in self.clue_turns)
        return self.correct is True and evidenced and not self.shortcut


PreferenceKind = OneOf["trajectory", "process"]


@dataclass(frozen=True, slots=True)
class Preference:
    """Two continuations of one beginning, and the rule that prefers one of them."""

    id: str
    question_id: str
    question: str
    kind: PreferenceKind
    """trajectory: whole attempts; process: two ways to go on after the same turns."""
    rule: str
    """correctness, evidence, tool_calls, conciseness; a process rule's name starts with "step_"."""
    detail: str
    """One sentence with the figures that decided."""
    prefix: tuple[Event, ...]
    """What both begin with; empty for whole attempts."""
    chosen: tuple[Event, ...]
    rejected: tuple[Event, ...]
    chosen_id: str
    """Trajectories that the two were taken from."""
    rejected_id: str
