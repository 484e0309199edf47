"""What a description is made of: steps, each a clue with the statement it rests on, and claims still to be chosen."""

from __future__ import annotations

from dataclasses import dataclass

from datagen.agents.symbolic.standing import Statement
from datagen.knowledge.formula import Clue, Node


@dataclass(frozen=True, slots=True)
class Step:
    """One clue with the statement it rests on; `key` is the entity it describes, `other` the entity it leads to."""

    key: str
    clue: Clue
    statement: Statement
    other: str | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """A vertex, its entity, and every statement in its tree, root first."""

    key: str
    node: Node
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """A clue that holds of the entity, and the rivals that it excludes."""

    clue: Clue
    statement: Statement
    excludes: frozenset[str]
    steps: tuple[Step, ...] = ()
