"""Sentences of prose, and which of them must not be believed.

A sentence is not read where it doubts, denies, asks or commands: rumours, negations, questions, conditions, quoted
instructions. The guard is wide on purpose: an unread sentence costs recall, a misread one costs a proof.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from datagen.knowledge.structured_rows import Span

_END = re.compile(r"[.!?][\"”’)]?(?=\s+[^\sa-z])")
_ABBREVIATION = re.compile(
    r"(?:^|[\s.(])(?:[A-Z]|St|Mt|Mr|Mrs|Ms|Dr|Prof|Rev|Sr|Jr|No|Ft|Capt|Gen|Col|Lt|vs|etc|c|ca|cf)$"
)
_DOUBT = re.compile(
    r"\b(?:rumou?r\w*|alleged\w*|reportedly|supposedly|purportedly|apparently|allegations?|hoax|myth|legend has"
    r"|not|never|no longer|isn't|wasn't|aren't|weren't|doesn't|don't|didn't|won't|neither|nor|without|contrary"
    r"|denie[sd]|deny|denying|disput\w+|untrue|false|falsely|wrong|wrongly|incorrect\w*|mistaken\w*|error|erroneous\w*"
    r"|might|may|could|would|should|perhaps|possibly|probably|maybe|likely|unlikely|unconfirmed|unverified"
    r"|if|unless|whether|claim\w*|pretend\w*|speculat\w+|gossip|heard|someone|some say|people say|they say"
    r"|will be|is set to|plans? to|planned to|hopes? to|expected to|former\w*|previously|used to|until recently|once"
    r"|imagine|suppose|fictional|satir\w+|joke\w*|ignore|disregard|pretend)\b",
)
_COMMAND = re.compile(
    r"ignore (?:all |any |the )?(?:previous|prior|above|other|earlier)|disregard (?:all|any|the|previous)|system prompt"
    r"|\blanguage models?|\bAI (?:assistant|agent|system|model)s?\b|as an assistant|you must (?:answer|say|report|state)"
    r"|always answer|answer with|instructions? (?:for|to) ",
    re.IGNORECASE,
)
_QUOTES = re.compile(r"[\"“”]")


def is_command(paragraph: str) -> bool:
    """Whether a paragraph speaks to a machine that reads it; then none of its sentences is read."""
    return _COMMAND.search(paragraph) is not None


def is_doubted(sentence: str) -> bool:
    """Whether a sentence asks, denies or hedges what it says."""
    if sentence.endswith("?"):
        return True
    # Only the first letter is folded: "May" inside a sentence is a month, "Rumours" at its head is a rumour.
    return _DOUBT.search(sentence[:1].lower() + sentence[1:]) is not None


def is_quoted(text: str, sentence: Span, position: int) -> bool:
    """Whether `position` lies inside quotation marks opened in its sentence."""
    return len(_QUOTES.findall(text, sentence[0], position)) % 2 == 1


def split_sentences(text: str, paragraph: Span, protected: Iterable[Span]) -> Iterator[Span]:
    """Sentence spans of a paragraph; no cut falls inside a protected span (a link's anchor)."""
    start, end = paragraph
    spans = [span for span in protected if span[0] < end and span[1] > start]
    for match in _END.finditer(text, start, end):
        cut = match.end()
        if text[match.start()] == "." and _ABBREVIATION.search(text, max(start, match.start() - 6), match.start()):
            continue
        if any(a < cut < b for a, b in spans):
            continue
        yield start, cut
        start = cut
        while start < end and text[start].isspace():
            start += 1
    if start < end:
        yield start, end
