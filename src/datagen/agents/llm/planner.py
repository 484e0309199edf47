"""InfoSeek's planner as a model: it sees the tree and the target, never a page, and picks an action and a vertex.

The tree is shown as JSON with a letter at every vertex, "A" for the answer, in the order of `walk_nodes`. An action that
the tree does not allow is pointed out and may be corrected.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any
from typing import Literal as OneOf

import orjson
from pydantic import BaseModel, Field

from datagen.agents.llm.voice import Voice, draw
from datagen.agents.roles import GrowthTarget, NoGrowth, ResearchTree, TreeAction
from datagen.knowledge.formula import ClueAddress, Edge, Node, count_vertices, depth, node_to_dict, walk_nodes

MAX_CLAIMS = 6


class ActionReply(BaseModel):
    """The next step of growth."""

    reason: str = Field(max_length=500, description="Why this step, in a sentence.")
    action: OneOf["initialise", "blur", "extend", "terminate"]
    vertex: str = Field(max_length=2, description="Letter of the vertex that the step concerns; A for the answer.")
    claims: int = Field(ge=0, le=MAX_CLAIMS, description="blur: how many claims to add; else 0.")


class LlmPlanner:
    """Chooses actions as a model sees fit, within what the tree allows."""

    def __init__(self, voice: Voice) -> None:
        self.name = voice.model.name
        self._voice = voice

    def plan(
        self, tree: ResearchTree | None, target: GrowthTarget, last: NoGrowth | None, rng: random.Random
    ) -> TreeAction:
        places: dict[str, ClueAddress] = letters(tree.query.root) if tree is not None else {"A": ()}
        shown = shown_tree(tree)
        goal = shown_goal(tree, target, last)
        asked = self._voice.ask(
            "action",
            ActionReply,
            seed=draw("action", shown, goal, rng.getrandbits(31)),
            problems=lambda reply: misplaced(reply, tree, places),
            tree=shown,
            goal=goal,
        )
        said = asked.value
        claims = max(1, said.claims) if said.action == "blur" else 0
        return TreeAction(said.action, places[said.vertex], claims, said.reason)


def letters(root: Node) -> dict[str, ClueAddress]:
    """Letter -> address of every vertex."""
    return dict(zip(ascii_uppercase, (address for address, _ in walk_nodes(root)), strict=False))


def shown_tree(tree: ResearchTree | None) -> str:
    """The tree as JSON, a letter at every vertex; empty before the first step."""
    if tree is None:
        return ""
    named = {address: letter for letter, address in letters(tree.query.root).items()}
    root = _lettered(tree.query.root, (), named)
    return orjson.dumps({"root": root, "asks": tree.query.ask}).decode()


def _lettered(node: Node, at: ClueAddress, named: dict[ClueAddress, str]) -> dict[str, Any]:
    raw = {"vertex": named.get(at, "?"), **node_to_dict(node)}
    for index, clue in enumerate(node.clues):
        if isinstance(clue, Edge):
            raw["clues"][index]["child"] = _lettered(clue.child, (*at, index), named)
    return raw


def shown_goal(tree: ResearchTree | None, target: GrowthTarget, last: NoGrowth | None) -> str:
    """What is wanted, what is there, and why the last step failed if it did."""
    root = tree.query.root if tree is not None else Node(None, ())
    told: dict[str, Any] = {
        "wanted": {"depth": target.depth, "vertices": target.vertices, "ask_literal": target.ask_literal},
        "now": {"depth": depth(root), "vertices": count_vertices(root) if tree is not None else 0},
        "last_step_failed": None if last is None else {"reason": last.reason, "detail": last.detail},
    }
    return orjson.dumps(told).decode()


def misplaced(reply: ActionReply, tree: ResearchTree | None, places: dict[str, ClueAddress]) -> Sequence[str]:
    """What the tree does not allow."""
    if tree is None and reply.action != "initialise":
        return ["There is no tree yet: the first action is initialise."]
    if reply.vertex not in places:
        return [f"There is no vertex {reply.vertex!r}; there is {', '.join(places)}."]
    return []
