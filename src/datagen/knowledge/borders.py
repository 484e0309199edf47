"""Where words and numbers end inside a text."""

from __future__ import annotations


def goes_on(text: str, place: int) -> bool:
    """Whether a word or a number goes on across a place in a text. Scripts without case may set no spaces between words.

    >>> goes_on("Opened: 1901", 11), goes_on("12.5", 2), goes_on("in 1987.", 7)
    (True, True, False)
    """
    before, after = text[max(place - 2, 0) : place], text[place : place + 2]
    if not before or not after:
        return False
    if after[0] in ".,":
        return before[-1].isdecimal() and after[1:].isdecimal()
    if before[-1] in ".,":
        return before[:-1].isdecimal() and after[0].isdecimal()
    return _in_word(before[-1]) and _in_word(after[0])


def _in_word(char: str) -> bool:
    """Letters with upper and lower case, digits, and the underscore."""
    return char.isdigit() or char == "_" or char.lower() != char.upper()
