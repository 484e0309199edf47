"""Reward forms that look at an attempt as a whole. `correct` None gives None in every one of them."""

from __future__ import annotations

from collections.abc import Sequence

BONUS_FOR_BOTH_TOOLS = 0.1


def fathom(correct: bool | None, format_ok: bool, *, alpha: float = 0.1) -> float | None:
    """R = alpha * format + (1 - alpha) * correct. Fathom-DeepResearch (arXiv 2509.24107), eq. 2; spec fathom §2.1."""
    return None if correct is None else alpha * format_ok + (1 - alpha) * correct


def webexplorer(correct: bool | None, format_ok: bool, *, weight: float = 0.2) -> float | None:
    """R = 0.2 * format + correct. WebExplorer (arXiv 2509.06501); spec infoseek_webexplorer §2.8."""
    return None if correct is None else weight * format_ok + float(correct)


def infoseek(correct: bool | None, format_ok: bool, *, wrong: float = 0.0) -> float | None:
    """0 for a broken format, 1 for a right answer, `wrong` otherwise, which ships as 0.

    InfoSeek (arXiv 2509.00375) and its repository's `structure_format_score`; spec infoseek_webexplorer §1.11.
    """
    if correct is None:
        return None
    return 0.0 if not format_ok else 1.0 if correct else wrong


def arpo(correct: bool | None, format_ok: bool, tools_used: frozenset[str] | set[str] = frozenset()) -> float | None:
    """-1 for a broken format, 0 for a wrong answer, 1 for a right one and 0.1 more if both tools had a part in it.

    ARPO (arXiv 2507.19849); spec rl_algorithms §2.1. Its two tools are search and python, ours are search and visit.
    """
    if correct is None:
        return None
    if not format_ok:
        return -1.0
    return float(correct) + (BONUS_FOR_BOTH_TOOLS if correct and {"search", "visit"} <= tools_used else 0.0)


def clues(correct: bool | None, clue_turns: Sequence[int | None]) -> float | None:
    """Share of the question's clues that some turn evidenced: credit for the way, whatever the answer.

    0 for a question without clues. None where the attempt was not graded, for then its log may be cut short.
    """
    if correct is None:
        return None
    return sum(turn is not None for turn in clue_turns) / len(clue_turns) if clue_turns else 0.0
