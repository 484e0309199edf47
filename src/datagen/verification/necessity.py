"""Every clue must be needed: leaving out any one of them has to let a second entity in."""

from __future__ import annotations

from enum import StrEnum

from datagen.records.question import UNBOUNDED, Verdict
from datagen.synthesis.draft import Draft
from datagen.verification.gate import GateContext, failed, passed, uncertified


class NecessityReason(StrEnum):
    REDUNDANT_CLUE = "redundant_clue"


class Necessity:
    name = "necessity"
    cost = 1

    def check(self, draft: Draft, context: GateContext) -> Verdict:  # noqa: ARG002  # the protocol's signature
        proof = draft.certificate
        if proof is None:
            return uncertified(self.name)
        idle = [i for i, size in enumerate(proof.necessity) if size != UNBOUNDED and size <= 1]
        if idle:
            listed = "; ".join(proof.clues[i] for i in idle)
            return failed(self.name, NecessityReason.REDUNDANT_CLUE, f"the answer stays unique without: {listed}")
        return passed(self.name)
