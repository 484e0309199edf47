"""DUETQA: two searching models propose and check each other, a third that cannot search has to fail (spec fathom §1).

    sample themes ─ propose (M1 or M2, tools only) ─ newest hop ≥ cutoff? ─ prove ─ prune ─ obfuscate ─ words ─► gates
                                                                                                    sources, leak,
                                                                                                    prior (M3 fails),
                                                                                                    agreement (M1 and M2)

Five, six or seven themes come from the taxonomy; the proposer drops those that yield nothing. In *mixture* mode it
chains facts freely, in *seeded* mode it rebuilds the skeleton of one of the seed questions. Which of the two proposes is
drawn per candidate and stays on the row; both verify later, in fresh contexts. Every candidate that ends is counted with
its stage and reason.

`make_duetqa` is a pure function of (candidate, seed) on one workbench.
"""

from __future__ import annotations

import random
from dataclasses import replace

from datagen.agents.llm.proposing import is_free
from datagen.agents.roles import NoProposal, Proposal, SeedQuestion
from datagen.errors import ConfigError
from datagen.knowledge.formula import depth
from datagen.records.ids import rng_for
from datagen.synthesis.draft import Draft, Rejected
from datagen.synthesis.proving import Stop, prove, prune
from datagen.synthesis.settings import DuetqaSettings, Workbench
from datagen.synthesis.telling import tell
from datagen.synthesis.themes import Theme
from datagen.synthesis.uncertified import draft_uncertified

MIXTURE, SEEDED = "mixture", "seeded"
MIN_DEPTH = 2


def make_duetqa(candidate: int, seed: int, bench: Workbench, settings: DuetqaSettings) -> Draft | Rejected:
    """Sample, propose, prove, obfuscate and write one self-play question."""
    if bench.taxonomy is None or not bench.proposers:
        raise ConfigError("the duetqa recipe needs themes and proposers; name a theme file and a cast in the config.")
    rng = rng_for(seed, "duetqa", candidate)
    themes = bench.taxonomy.sample(settings.theme_counts, rng, settings.domains)
    seed_question = _draw_seed(bench.seed_questions, settings.seeded_share, rng)
    proposer = rng.choice(bench.proposers)
    proposal = proposer.propose(_search_words(themes), seed_question, bench.web, rng)
    spend = {"searches": proposal.searches, "visits": proposal.visits}
    if isinstance(proposal, NoProposal):
        return Rejected(candidate, "duetqa", "propose", proposal.reason, proposal.detail, spend=spend)
    drafted = _draft(bench, proposal, settings, rng)
    if isinstance(drafted, Stop):
        stop = drafted
        return Rejected(candidate, "duetqa", stop.stage, stop.reason, stop.detail, query=stop.query, spend=spend)
    return replace(
        drafted,
        candidate=candidate,
        themes=tuple(t.id for t in themes),
        themes_used=_used(themes, proposal),
        mode=SEEDED if seed_question else MIXTURE,
        seed_id=seed_question.id if seed_question else None,
        proposer=proposer.name,
        spend=spend,
    )


def _draw_seed(seeds: tuple[SeedQuestion, ...], share: float, rng: random.Random) -> SeedQuestion | None:
    return rng.choice(seeds) if seeds and rng.random() < share else None


def _search_words(themes: tuple[Theme, ...]) -> tuple[str, ...]:
    return tuple(" ".join(t.words) for t in themes)


def _used(themes: tuple[Theme, ...], proposal: Proposal) -> tuple[str, ...]:
    by_words = dict(zip(_search_words(themes), themes, strict=True))
    return tuple(by_words[words].id for words in proposal.themes_used if words in by_words)


def _draft(bench: Workbench, proposal: Proposal, settings: DuetqaSettings, rng: random.Random) -> Draft | Stop:
    newest = max((hop.published_at for hop in proposal.hops if hop.published_at), default=None)
    if settings.cutoff is not None and (newest is None or newest < settings.cutoff):
        return Stop(
            "dates",
            "nothing_after_cutoff",
            f"the newest hop is of {newest}, the cutoff is {settings.cutoff}",
            proposal.query,
        )
    if is_free(proposal.query):
        return draft_uncertified(bench, proposal, rng)
    proven = prove(bench, proposal.query)
    if not isinstance(proven, Stop):
        proven = prune(bench, proven)
    if isinstance(proven, Stop):
        return proven
    if depth(proven.query.root) < MIN_DEPTH:
        return Stop("prove", "single_hop", "no hop is left once what the proof does not need is pruned", proven.query)
    finished = tell(bench, proven, settings.obfuscate, rng)
    if isinstance(finished, Stop):
        return finished
    return Draft(
        candidate=0,
        recipe="duetqa",
        query=finished.query,
        question=finished.question,
        question_raw=finished.question_raw,
        answer=finished.answer,
        certificate=finished.proof,
        hidden_names=finished.hidden_names,
        hops=proposal.hops,
        obfuscations=finished.edits,
        wording=finished.wording,
    )
