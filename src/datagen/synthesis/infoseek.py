"""InfoSeek: research trees, grown from an answer outward and told from the leaves inward (arXiv 2509.00375).

A planner that sees only the tree chooses among four actions, a browser that reads the vertex's pages carries them out:

    initialise      an anchor entity becomes the root, which is the answer
    blur            k clues from a vertex's own pages, no clue's candidates containing another's
    extend          a child vertex over a relation that the vertex's pages state
    terminate       targets met and every vertex described well enough

Every vertex is known by its own clues only; no text ever names it. When growth ends the recipe proves the tree, prunes
what the proof does not need, makes clues vaguer where the proof survives it, and writes the question last. In a
configured share of trees the question asks for a literal of the root instead of its name.

`make_infoseek` is a pure function of (candidate, seed) on one workbench.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from datagen.agents.roles import GrowthTarget, NoGrowth, ResearchTree
from datagen.errors import ConfigError
from datagen.knowledge.formula import Query, count_vertices, depth
from datagen.records.ids import rng_for
from datagen.synthesis.answers import choose_ask
from datagen.synthesis.draft import Draft, Rejected
from datagen.synthesis.obfuscation import MAX_DEPTH, MAX_VERTICES
from datagen.synthesis.proving import Proven, Stop, prove, prune
from datagen.synthesis.settings import InfoseekSettings, Workbench
from datagen.synthesis.telling import tell

MIN_DEPTH, MIN_VERTICES = 2, 3


def make_infoseek(candidate: int, seed: int, bench: Workbench, settings: InfoseekSettings) -> Draft | Rejected:
    """Grow, prove, blur and write one research tree."""
    rng = rng_for(seed, "infoseek", candidate)
    target = GrowthTarget(
        depth=_draw(settings.depth, rng),
        vertices=_draw(settings.vertices, rng),
        ask_literal=rng.random() < settings.ask_share,
    )
    grown = _grow(bench, target, settings.max_steps, rng)
    if isinstance(grown, Stop):
        return _rejected(candidate, grown)
    tree, mode = grown
    proven = _proven(bench, tree, target, rng)
    if isinstance(proven, Stop):
        return _rejected(candidate, proven)
    finished = tell(bench, proven, settings.obfuscate, rng)
    if isinstance(finished, Stop):
        return _rejected(candidate, finished)
    return Draft(
        candidate=candidate,
        recipe="infoseek",
        query=finished.query,
        question=finished.question,
        question_raw=finished.question_raw,
        answer=finished.answer,
        certificate=finished.proof,
        hidden_names=finished.hidden_names,
        mode=mode,
        obfuscations=finished.edits,
        wording=finished.wording,
        proposer=getattr(bench.browser, "name", ""),
    )


def _draw(weights: Mapping[int, float], rng: random.Random) -> int:
    values = sorted(weights)
    return rng.choices(values, [weights[v] for v in values])[0]


def _grow(
    bench: Workbench, target: GrowthTarget, max_steps: int, rng: random.Random
) -> tuple[ResearchTree, str] | Stop:
    if bench.planner is None or bench.browser is None:
        raise ConfigError("the infoseek recipe needs a planner and a browser; name a cast in the config that has them.")
    tree: ResearchTree | None = None
    last: NoGrowth | None = None
    for _ in range(max_steps):
        action = bench.planner.plan(tree, target, last, rng)
        if action.kind == "terminate":
            return (tree, action.reason) if tree is not None else Stop("grow", "no_anchor", action.reason)
        outcome = bench.browser.act(action, tree, target, rng)
        if isinstance(outcome, NoGrowth):
            if tree is None:
                return Stop("grow", outcome.reason, outcome.detail)
            last = outcome
        else:
            tree, last = outcome, None
    return Stop(
        "grow", "too_many_steps", f"the tree was unfinished after {max_steps} actions", tree.query if tree else None
    )


def _proven(bench: Workbench, tree: ResearchTree, target: GrowthTarget, rng: random.Random) -> Proven | Stop:
    key = dict(tree.vertices)[()]
    query = tree.query
    if target.ask_literal and query.ask is None:
        query = choose_ask(bench.graph, Query(query.root), key, rng)
    proven = prove(bench, query, key)
    if not isinstance(proven, Stop):
        proven = prune(bench, proven)
    if isinstance(proven, Stop):
        return proven
    root = proven.query.root
    size = f"depth {depth(root)} and {count_vertices(root)} vertices"
    if depth(root) < MIN_DEPTH or count_vertices(root) < MIN_VERTICES:
        return Stop("grow", "too_small", f"{size} are left", proven.query)
    if depth(root) > MAX_DEPTH or count_vertices(root) > MAX_VERTICES:
        return Stop("grow", "too_large", f"{size} are needed", proven.query)
    return proven


def _rejected(candidate: int, stop: Stop) -> Rejected:
    return Rejected(candidate, "infoseek", stop.stage, stop.reason, stop.detail, query=stop.query)
