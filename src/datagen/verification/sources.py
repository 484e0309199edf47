"""The evidence must come from different places.

Distinct hosts, distinct kinds of publication, and the share of encyclopedia pages are counted over the pages that state
the clues (for a self-play question, the pages of its hops as well). A corpus of one host cannot meet this; its config
sets `relaxed`, the miss then passes with the reason "relaxed", and the row lists the gate under `relaxed_gates`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from datagen.records.question import Verdict
from datagen.synthesis.draft import Draft
from datagen.verification.gate import GateContext, SourceRule, failed, passed

RELAXED = "relaxed"


class SourcesReason(StrEnum):
    FEW_HOSTS = "few_hosts"
    FEW_KINDS = "few_kinds"
    ENCYCLOPEDIA = "mostly_encyclopedia"


@dataclass(frozen=True, slots=True)
class SourceMix:
    """Where the evidence of a draft lies, counted over pages."""

    hosts: tuple[str, ...]
    kinds: tuple[str, ...]
    encyclopedia_share: float


def source_mix(draft: Draft) -> SourceMix:
    pages: dict[str, tuple[str, str]] = {}
    for evidence in draft.certificate.evidence if draft.certificate else ():
        pages[evidence.url] = (evidence.host, evidence.source_kind)
    for hop in draft.hops:
        pages[hop.url] = (hop.host, hop.source_kind)
    kinds = [kind for _, kind in pages.values()]
    return SourceMix(
        hosts=tuple(sorted({host for host, _ in pages.values()})),
        kinds=tuple(sorted(set(kinds))),
        encyclopedia_share=kinds.count("encyclopedia") / len(kinds) if kinds else 0.0,
    )


class Sources:
    name = "sources"
    cost = 4

    def check(self, draft: Draft, context: GateContext) -> Verdict:
        rule = context.settings.sources.get(draft.recipe, SourceRule())
        miss = self._miss(source_mix(draft), rule)
        if miss is None:
            return passed(self.name)
        if rule.relaxed:
            return Verdict(self.name, passed=True, reason=RELAXED, detail=miss.detail)
        return miss

    def _miss(self, mix: SourceMix, rule: SourceRule) -> Verdict | None:
        if len(mix.hosts) < rule.min_hosts:
            detail = f"{len(mix.hosts)} host(s) state the clues, {rule.min_hosts} wanted"
            return failed(self.name, SourcesReason.FEW_HOSTS, detail)
        if len(mix.kinds) < rule.min_kinds:
            detail = f"{len(mix.kinds)} kind(s) of page state the clues, {rule.min_kinds} wanted"
            return failed(self.name, SourcesReason.FEW_KINDS, detail)
        if mix.encyclopedia_share > rule.max_encyclopedia_share:
            detail = f"{mix.encyclopedia_share:.0%} of the pages are encyclopedia articles"
            return failed(self.name, SourcesReason.ENCYCLOPEDIA, detail)
        return None
