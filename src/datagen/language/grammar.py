"""The grammar of questions: fixed rules, and terminals made from the phrase table.

A question is a lead, sentences that add clues to things already introduced, and a closing question:

    There is a football club whose home ground is a stadium that was opened in the early 1930s.     lead
    That stadium was designed by Ada Voss. The club ...                                              body
    What is its name?                                                                                close

Attachment is never a matter of taste: in a list of clues only the last may describe a new thing with clues of its own
(`*_heavy`), so a following "and that ..." always belongs to the thing described last. That makes the rules LALR(1), and
each clue is four or five tokens, whatever the size of the catalogue: the literal words of all forms become a few
terminals, each a prefix tree written as a regular expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

from datagen.knowledge.dates import MONTHS
from datagen.language.names import NAME_PATTERN, QUOTED_PATTERN
from datagen.language.phrases import ONE, ORDINALS, Phrase, PhraseTable, Voice
from datagen.language.vague_dates import DATE_PATTERN
from datagen.language.vague_numbers import number_pattern, unit_words

LEADS_THERE = ("There is", "I am looking for", "I am thinking of", "Consider", "Think of", "Take")
LEADS_FIND = ("Identify the", "Name the", "Find the", "Give the name of the", "Determine the name of the")
LEADS_FIND_ASKING = ("What is the name of the", "Can you name the", "Can you identify the")
LEADS_PERSON_ASKING = ("Who is the",)

RULES = r"""
start: lead body* close?

?lead: which | find | there | ask
which: WHICH gaps _ASKS
     | WHICH _COMMA rel _COMMA gaps _ASKS -> which_aside
find: FIND rels? _stop
there: THERE rels? _DOT | THERE rels _SEMICOLON CLOSE
ask: AS_OF_LEAD? ASK THE ASK_TAIL? rels? _ASKS

body: AS_OF_LEAD? (main | main_heavy) _DOT
    | main (_COMMA more)* _AND (more | more_heavy) _DOT
    | TOPIC _IS_ONE rels _DOT -> body_one
close: CLOSE
     | AS_OF_LEAD? ASK ROOT ASK_TAIL? _ASKS -> close_ask

gaps: gap_heavy | gap | gap (_COMMA gap)* _AND (gap | gap_heavy)
rels: rel_heavy | rel | rel (_COMMA (rel | gap))* _AND (rel | gap | rel_heavy | gap_heavy)

rel: _REL _subject | _WHOSE _possessive
   | _REL value TAIL AS_OF? -> rel_object
   | OTHER value TAIL? AS_OF? -> rel_other
rel_heavy: _REL _subject_heavy | _WHOSE _possessive_heavy
   | OTHER vertex rels -> rel_other_heavy
gap: _subject
gap_heavy: _subject_heavy
main: TOPIC _subject | TOPIC_S _possessive
main_heavy: TOPIC _subject_heavy | TOPIC_S _possessive_heavy
more: _subject | _IT _subject | _ITS _possessive
more_heavy: _subject_heavy | _IT _subject_heavy | _ITS _possessive_heavy

_subject: SUBJECT value TAIL? AS_OF? | IS_A
_subject_heavy: SUBJECT vertex rels
_possessive: POSSESSIVE value TAIL? AS_OF?
_possessive_heavy: POSSESSIVE vertex rels

value: NAME | QUOTED | DATE | NUMBER | A_NEW
vertex: A_NEW

_stop: _ASKS | _DOT
%ignore " "
"""
"""`WHICH`..`TOPIC` carry a type word, `SUBJECT`, `POSSESSIVE`, `OTHER`, `TAIL`, `ASK`, `ASK_TAIL` the catalogue's."""

NEVER = r"(?!)\x00"
"""A terminal without words matches nothing."""


_Tree: TypeAlias = "dict[str, _Tree | bool]"
"""Branches by character. The empty string ends a word, true where a letter or digit may not follow."""


def prefix_tree(words: Iterable[str]) -> str:
    """One regular expression for many literals, longest first, that does not stop inside a word."""
    root: _Tree = {}
    for word in sorted(set(words)):
        here = root
        for char in word:
            below = here.setdefault(char, {})
            assert isinstance(below, dict)
            here = below
        here[""] = word[-1].isalnum()
    return _tree_pattern(root) if root else NEVER


def _tree_pattern(node: _Tree) -> str:
    prefix = ""
    while len(node) == 1 and "" not in node:
        ((char, below),) = node.items()
        assert isinstance(below, dict)
        prefix, node = prefix + re.escape(char), below
    branches = [re.escape(char) + _tree_pattern(below) for char, below in node.items() if isinstance(below, dict)]
    if "" in node:
        branches.append(r"(?!\w)" if node[""] else "")
    return prefix + (branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})")


def _either_case(forms: Iterable[str]) -> list[str]:
    """Question forms also stand after "As of 3 March 2025, " with a small first letter."""
    return [variant for form in forms for variant in (form, form[0].lower() + form[1:])]


def _terminals(table: PhraseTable) -> dict[str, tuple[int, str]]:
    """Pattern and priority by terminal. Where two can match, the longer kind of words has the higher priority."""
    word = prefix_tree(table.type_words.values())
    day = rf"\d{{1,2}} (?:{'|'.join(MONTHS)}) (?:\d{{4}}|the year \d{{1,3}})"
    again = prefix_tree([*table.type_words.values(), ONE])
    back = rf"(?:[Tt]his {word}|[Tt]hat {word}|[Tt]he (?:{'|'.join(ORDINALS)}) {again}|[Tt]he {word}(?: in question)?)"
    root = rf"(?:this {word}|the first {again}|the {word} in question)"
    closing = rf"[Ww]hat is (?:its name|it called|the name of {root}|{root} called)|[Ww]ho is {root}"
    units = {words for r in table.catalogue.relations.values() if (words := unit_words(r.unit))}
    unit = rf"{prefix_tree(units)}|(?: {QUOTED_PATTERN})?"
    return {
        "AS_OF_LEAD": (9, rf"As of {day},"),
        "CLOSE": (9, rf"(?:{closing}|[Ww]hich {word} is (?:it|this))\?|(?:Name|Identify) {root}\."),
        "FIND": (9, rf"(?:{'|'.join((*LEADS_FIND, *LEADS_FIND_ASKING, *LEADS_PERSON_ASKING))}) {word}(?!['’])"),
        "THERE": (7, rf"(?:{'|'.join(LEADS_THERE)}) an? {word}"),
        "WHICH": (6, rf"Which {word}"),
        "ROOT": (9, rf"(?:it(?!\w)|{root})"),
        "THE": (8, rf"the {word}"),
        "ASK": (8, prefix_tree(_either_case(p.open for phrases in table.asks.values() for p in phrases))),
        "ASK_TAIL": (8, prefix_tree(p.tail for phrases in table.asks.values() for p in phrases if p.tail)),
        "TOPIC": (5, rf"(?:[Ii]t(?!\w)|{back}(?!['’]))"),
        "TOPIC_S": (5, rf"(?:[Ii]ts(?!\w)|[Tt]heir(?!\w)|{back}['’]s?)"),
        "AS_OF": (8, rf"(?:as of|on) {day}"),
        "TAIL": (7, prefix_tree(p.tail for p in _phrases(table) if p.tail)),
        "SUBJECT": (6, prefix_tree(_openings(table, "subject"))),
        "POSSESSIVE": (6, prefix_tree(_openings(table, "possessive"))),
        "OTHER": (6, prefix_tree(_openings(table, "other"))),
        "IS_A": (7, rf"is an? {word}(?=[,.;?]| and )"),
        "DATE": (4, DATE_PATTERN),
        "NUMBER": (3, number_pattern(unit)),
        "A_NEW": (2, rf"(?:an?|another|a (?:{'|'.join(ORDINALS[1:])})) {again}"),
        "QUOTED": (2, QUOTED_PATTERN),
        "NAME": (1, NAME_PATTERN),
        "_REL": (3, r"(?:that|who|which)(?= )"),
        "_WHOSE": (3, "whose(?= )"),
        "_IT": (3, "(?:it|they)(?= )"),
        "_ITS": (3, "(?:its|their)(?= )"),
        "_IS_ONE": (7, r"is (?:one|someone)(?= )"),
        "_AND": (5, "(?:, )?and(?= )"),
        "_COMMA": (4, ",(?= )"),
        "_SEMICOLON": (4, ";"),
        "_ASKS": (4, r"\?"),
        "_DOT": (4, r"\."),
    }


def _phrases(table: PhraseTable) -> Iterable[Phrase]:
    return (phrase for phrases in table.by_relation.values() for phrase in phrases)


def _openings(table: PhraseTable, voice: Voice) -> list[str]:
    return [p.open for phrases in table.by_relation.values() for p in phrases if p.voice == voice]


def grammar_text(table: PhraseTable) -> str:
    """The whole grammar for one catalogue, in the notation of the grammar library."""
    lines = [f"{name}.{priority}: /{_slashes(pattern)}/" for name, (priority, pattern) in _terminals(table).items()]
    return RULES + "\n".join(lines) + "\n"


def _slashes(pattern: str) -> str:
    return pattern.replace("/", r"\/").replace("\n", r"\n")
