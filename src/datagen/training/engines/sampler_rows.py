"""Which sequences keep their keys and values between requests, and what a new request can take from them.

    q12-3, turn 1     prompt ████ wrote ▒▒              kept when the turn is over
    q12-3, turn 2     prompt ████ wrote ▒▒ result ███   reads the result only
    q12-4, turn 1     prompt ████                       copies the prompt from q12-3, if both name one `share`

What is taken is always the longest common prefix of token ids, so names are hints: a wrong one costs time, no token.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from datagen.training.engines.decoder import Decoder
from datagen.training.engines.decoder_memory import Row


@dataclass(slots=True, eq=False)
class Held:
    """A sequence in memory."""

    row: Row
    session: str
    """Empty if nobody will come back for it."""
    share: str
    tokens: list[int]
    """What the request that has it wants read; the row holds the first of them."""
    busy: bool = True
    reading: bool = True
    """Its request has not been read to the end yet."""
    donor: Held | None = None
    """A sequence that holds, or will hold, a longer beginning of these tokens than this one."""


def common(one: list[int], other: list[int]) -> int:
    """Length of the longest common prefix."""
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    low, high = 0, shorter  # one[:low] agrees, one[:high] does not
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


class Conversations:
    """The sequences of an engine, within limits of number and of tokens."""

    def __init__(self, decoder: Decoder, max_sessions: int, max_tokens: int) -> None:
        self.decoder, self.max_sessions, self.max_tokens = decoder, max_sessions, max_tokens
        self.sessions: OrderedDict[str, Held] = OrderedDict()
        """Least recently used first."""
        self._shares: dict[str, list[Held]] = {}
        self.evicted = 0

    def open(self, tokens: list[int], *, session: str, share: str, room: int, together: int) -> Held | None:
        """A row for `tokens` with `room` in all that holds what is known of them; None if there is no memory for it now."""
        kept = self.sessions.get(session)
        if kept is not None and kept.busy:
            kept, session = None, ""  # two requests of one conversation at once: the second gets a row of its own
        if kept is not None and kept.row.capacity >= room:
            self.decoder.truncate(kept.row, common(kept.row.tokens, tokens[:-1]))
        else:
            if not self._make_room(self.decoder.capacity(room), kept):
                return None
            kept = self._moved(
                self.sessions.get(session) if session else None,
                tokens,
                session=session,
                share=share,
                room=room,
                together=together,
            )
        kept.tokens, kept.busy, kept.reading = tokens, True, True
        kept.donor = self._donor(kept, share)
        return kept

    def _moved(
        self, old: Held | None, tokens: list[int], *, session: str, share: str, room: int, together: int
    ) -> Held:
        """A new row, with what the old one of the conversation held."""
        held = Held(self.decoder.allocate(room, together), session, share, tokens)
        if old is not None:
            self.decoder.fork(old.row, held.row, common(old.row.tokens, tokens[:-1]))
            self.drop(old)
        if session:
            self.sessions[session] = held
        if share:
            self._shares.setdefault(share, []).append(held)
        return held

    def _donor(self, held: Held, share: str) -> Held | None:
        best, longest = None, len(held.row.tokens)
        for other in self._shares.get(share, ()):
            # One that waits for a donor of its own is none: no two can wait for each other.
            if (
                other is not held
                and other.donor is None
                and (length := common(other.tokens, held.tokens[:-1])) > longest
            ):
                best, longest = other, length
        return best

    def settle_donor(self, held: Held) -> bool:
        """Take what the donor holds. False if it is still being read and has to be waited for."""
        donor = held.donor
        if donor is not None:
            wanted = common(donor.tokens, held.tokens[:-1])
            length = common(donor.row.tokens, held.tokens[:-1])
            if donor.busy and donor.reading and length < min(wanted, len(donor.tokens) - 1):
                return False
            if length > len(held.row.tokens):
                self.decoder.fork(donor.row, held.row, length)
            held.donor = None
        return True

    def close(self, held: Held) -> None:
        """The request is over."""
        held.busy = held.reading = False
        held.tokens, held.donor = held.row.tokens, None
        if not held.session:
            self.drop(held)
            return
        self.sessions.move_to_end(held.session)
        while len(self.sessions) > self.max_sessions and self._evict(None):
            pass

    def release(self, session: str) -> None:
        """Nobody will come back for this conversation."""
        held = self.sessions.get(session)
        if held is not None and held.busy:
            del self.sessions[session]
            held.session = ""
        elif held is not None:
            self.drop(held)

    def drop(self, held: Held) -> None:
        """Forget a sequence."""
        if held.session and self.sessions.get(held.session) is held:
            del self.sessions[held.session]
        if held.share:
            others = self._shares[held.share]
            others.remove(held)
            if not others:
                del self._shares[held.share]
        self.decoder.free(held.row)
        held.busy = held.reading = False
        held.tokens = []

    def _make_room(self, tokens: int, spared: Held | None) -> bool:
        while self.decoder.held + tokens > self.max_tokens:
            if not self._evict(spared) and not self._evict(None):
                return False
        return True

    def _evict(self, spared: Held | None) -> bool:
        """Forget the conversation that was used least recently and is idle."""
        oldest = next((held for held in self.sessions.values() if not held.busy and held is not spared), None)
        if oldest is None:
            return False
        self.drop(oldest)
        self.evicted += 1
        return True
