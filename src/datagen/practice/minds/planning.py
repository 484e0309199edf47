"""A mind that plans growth, and one that chooses among options: the symbolic planner over the tree in the prompt."""

from __future__ import annotations

from typing import Any

import orjson

from datagen.agents.llm.fencing import sections
from datagen.agents.llm.planner import letters
from datagen.agents.roles import GrowthTarget, NoGrowth, ResearchTree
from datagen.agents.symbolic.planner import SymbolicPlanner
from datagen.knowledge.formula import ClueAddress, Query, query_from_dict
from datagen.practice.minds.background import Background
from datagen.practice.minds.task import body, json_reply, task_text
from datagen.practice.wire import WireReply, WireRequest
from datagen.records.ids import rng_for


def plan(background: Background, request: WireRequest) -> WireReply:
    """The next action, with the letter of its vertex."""
    shown, goal = body(request, "tree"), orjson.loads(body(request, "goal"))
    tree = None if not shown.strip() else ResearchTree(_query(orjson.loads(shown)), ())
    wanted, failed = goal["wanted"], goal["last_step_failed"]
    action = SymbolicPlanner(background.catalogue).plan(
        tree,
        GrowthTarget(wanted["depth"], wanted["vertices"], wanted["ask_literal"]),
        None if failed is None else NoGrowth(failed["reason"], failed["detail"]),
        rng_for("plan", request.seed, shown),
    )
    places: dict[ClueAddress, str] = {(): "A"}
    if tree is not None:
        places = {address: letter for letter, address in letters(tree.query.root).items()}
    vertex = places[action.at]
    reply = {"reason": action.reason, "action": action.kind, "vertex": vertex, "claims": action.claims}
    return json_reply(reply)


def _query(raw: dict[str, Any]) -> Query:
    """The tree as it was shown; letters are of no account."""
    return query_from_dict({"root": raw["root"], "ask": raw["asks"], "ask_as_of": None})


def choose(background: Background, request: WireRequest) -> WireReply:  # noqa: ARG001  # the signature of a handler
    """Any of the options, drawn by the request's seed."""
    options = list(sections(task_text(request), "option"))
    if not options:
        raise LookupError("the request shows no options")
    rng = rng_for("choose", request.seed, *(option.body for option in options))
    return json_reply({"reason": "It fits.", "choice": rng.randrange(len(options)) + 1})
