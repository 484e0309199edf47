"""The certificate must prove one answer, and the question must need more than a scrap of itself to have it.

answer_set of one, rivals 0     one entity surely matches and no other could
m* = |minimal_subset|           at least `min_identifying_clues`, so no single clue gives the answer away
min_documents                   the clues cannot all be read off one page

Where facts could not be joined into a certificate, uniqueness is left to the search for rivals; a cast that has nobody to
search ends the candidate here, before anything is spent on it.
"""

from __future__ import annotations

from enum import StrEnum

from datagen.records.question import UNBOUNDED, Verdict
from datagen.synthesis.draft import Draft
from datagen.verification.gate import NO_RIVAL_SEARCH, GateContext, failed, passed, uncertified


class UniqueReason(StrEnum):
    NOBODY_SEARCHES = NO_RIVAL_SEARCH
    NO_ANSWER = "no_answer"
    SEVERAL_ANSWERS = "several_answers"
    RIVALS = "possible_rivals"
    OPEN = "open_class"
    OTHER_ANSWER = "other_answer"
    SINGLE_CLUE = "few_clues_identify"
    ONE_PAGE = "one_page_states_all"


class Unique:
    name = "unique"
    cost = 0

    def check(self, draft: Draft, context: GateContext) -> Verdict:
        proof = draft.certificate
        if proof is None:
            if context.rival_seekers:
                return uncertified(self.name)
            detail = "the facts could not be joined into a proof, and nobody in the cast searches for rivals"
            return failed(self.name, UniqueReason.NOBODY_SEARCHES, detail)
        if not proof.answer_set:
            return failed(self.name, UniqueReason.NO_ANSWER, "no entity surely matches all clues")
        if len(proof.answer_set) > 1:
            listed = ", ".join(proof.answer_set[:3])
            return failed(self.name, UniqueReason.SEVERAL_ANSWERS, f"{len(proof.answer_set)} entities match: {listed}")
        if proof.rivals == UNBOUNDED:
            return failed(self.name, UniqueReason.OPEN, "entities that no page mentions could match as well")
        if proof.rivals > 0:
            return failed(self.name, UniqueReason.RIVALS, f"{proof.rivals} more entities could match")
        if draft.query.ask is None and draft.answer.type == "entity" and draft.answer.key != proof.answer_set[0]:
            return failed(self.name, UniqueReason.OTHER_ANSWER, f"the proof is about {proof.answer_set[0]}")
        wanted = max(2, context.settings.min_identifying_clues)
        if len(proof.minimal_subset) < wanted:
            clues = "; ".join(proof.clues[i] for i in proof.minimal_subset)
            return failed(self.name, UniqueReason.SINGLE_CLUE, f"already identified by: {clues}")
        if proof.min_documents < context.settings.min_documents:
            return failed(self.name, UniqueReason.ONE_PAGE, f"{proof.min_documents} page(s) state all clues")
        return passed(self.name)
