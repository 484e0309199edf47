"""How a reader compares names: loosely, because titles, anchors and questions spell them differently."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_BRACKETED = re.compile(r"\s*\([^)]*\)\s*$")
_NOT_WORD = re.compile(r"[^\w]+")


@lru_cache(maxsize=65_536)
def fold(name: str) -> str:
    """One form for spellings that mean the same name: case, accents, punctuation, a leading article, `(stadium)`.

    >>> fold("The Hill-End  Stadium (Veltrin)")
    'hill end stadium'
    """
    plain = unicodedata.normalize("NFKD", _BRACKETED.sub("", name))
    plain = "".join(c for c in plain if not unicodedata.combining(c)).casefold()
    words = _NOT_WORD.sub(" ", plain).split()
    return " ".join(words[1:] if len(words) > 1 and words[0] == "the" else words)
