"""One search must not be enough.

The whole question, and every clue of its root by itself, is put to the search tool. It is a shortcut when one of the
first `shortcut_top_k` hits makes the answer *readable*:

    an entity answer     the hit is the entity's own page, or its title or snippet states the name or an alias as whole
                         words
    a literal answer     the snippet states the value in an accepted form, on a page whose title names the root or is
                         the root's own page

Clues deeper in the tree describe other entities; what they surface is a step of the research, not its end.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from enum import StrEnum

from datagen.errors import WordingError
from datagen.knowledge.answer_forms import accepted_forms, contains_words, words_of
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import Clue, Edge, EntityRef, IsA, Match, Node, Query, walk_clues
from datagen.records.ids import rng_for
from datagen.records.question import Verdict
from datagen.synthesis.draft import Draft
from datagen.verification.gate import GateContext, failed
from datagen.web.tools import Hit


class ShortcutReason(StrEnum):
    QUESTION = "question_as_query"
    CLUE = "clue_as_query"


class Shortcut:
    name = "shortcut"
    cost = 10

    def check(self, draft: Draft, context: GateContext) -> Verdict:
        top_k = context.settings.shortcut_top_k
        searches = 0
        for index, words in enumerate((draft.question, *clue_texts(draft, context))):
            hits = context.web.search(words, top_k)
            searches += 1
            for rank, hit in enumerate(hits[:top_k], start=1):
                if answer_readable(draft, hit):
                    reason = ShortcutReason.CLUE if index else ShortcutReason.QUESTION
                    detail = f"hit {rank} for {words!r} is {hit.title!r}, where the answer is readable"
                    return replace(failed(self.name, reason, detail), searches=searches)
        return Verdict(self.name, passed=True, searches=searches)


def clue_texts(draft: Draft, context: GateContext) -> list[str]:
    """Each clue of the root, with all that hangs below it, as a question of its own."""
    root = draft.query.root
    if len(root.clues) < 2:
        return []
    rng = rng_for("clue words", draft.candidate)
    texts = []
    for clue in root.clues:
        alone = replace(root, clues=(clue,))
        if not _knows(context.catalogue, alone):
            texts.append(" ".join(_key_words(context.catalogue, alone)))
            continue
        # A clue that has no words of its own is said by another one (a class folded into its noun).
        with contextlib.suppress(WordingError):
            texts.append(context.verbaliser.write(Query(alone), rng))
    return texts


def _knows(catalogue: Catalogue, node: Node) -> bool:
    """Whether the grammar has words for every relation of the tree."""
    return all(isinstance(clue, IsA) or clue.relation in catalogue.relations for _, clue in walk_clues(node))


def _key_words(catalogue: Catalogue, node: Node) -> list[str]:
    """What someone would type who looks for a tree with a relation in free words: nouns, relations, constants."""
    words = []
    if node.type is not None:
        known = catalogue.types.get(node.type)
        words.append(known.singular if known else node.type.lstrip("~"))
    for clue in node.clues:
        words += _words_of_clue(catalogue, clue)
    return words


def _words_of_clue(catalogue: Catalogue, clue: Clue) -> list[str]:
    if isinstance(clue, IsA):
        return [clue.type.lstrip("~")]
    words = [clue.relation.lstrip("~").replace("_", " ")]
    if isinstance(clue, Edge):
        return words + _key_words(catalogue, clue.child)
    if isinstance(clue, Match):
        return [*words, clue.value.name if isinstance(clue.value, EntityRef) else clue.value.text]
    return words


def answer_readable(draft: Draft, hit: Hit) -> bool:
    """Whether this search result alone shows the answer, as the module docstring defines it."""
    title, snippet = words_of(hit.title), words_of(hit.snippet)
    forms = [words_of(form) for form in accepted_forms(draft.answer)]
    if draft.answer.type == "entity":
        return hit.url == draft.answer.key or any(contains_words(t, f) for t in (title, snippet) for f in forms)
    roots = draft.certificate.answer_set if draft.certificate else ()
    about_root = hit.url in roots or any(contains_words(title, words_of(name)) for name in draft.hidden_names)
    return about_root and any(contains_words(snippet, form) for form in forms)
