"""Randomness with an address, and maps that can be walked both ways.

An attribute of entity i is a function of (seed, what, i), so it needs no state and no order. Links need more: from a
town to the clubs that are based there, without asking every club. So links are arithmetic that has an inverse:

    Ring(n)         a permutation of 0..n-1: rank = a*i + b mod n
    FanMap(n, m)    ranks 0..n-1 onto 0..m-1, monotone, so the ranks that meet in one object are an interval

A subject's object is `ring -> fan -> ring`, and the inverse of each step is one too. All arithmetic is on integers:
floating point would differ in the last place between machines, and with it the world.

>>> ring = Ring(10, 7)
>>> [ring.inverse(ring.forward(i)) for i in range(4)]
[0, 1, 2, 3]
>>> fan = FanMap(10, 3, skew=1)
>>> [fan.forward(k) for k in range(10)], fan.interval(0)
([0, 0, 0, 0, 0, 1, 1, 1, 2, 2], (0, 5))
"""

from __future__ import annotations

import hashlib
from math import gcd, isqrt


class Draws:
    """64-bit draws by address (what, i, j)."""

    __slots__ = ("_base", "_tags")

    def __init__(self, seed: int) -> None:
        self._base = hashlib.blake2b(digest_size=8, key=b"world-%d" % seed)
        self._tags: dict[str, hashlib.blake2b] = {}

    def bits(self, what: str, i: int = 0, j: int = 0) -> int:
        tag = self._tags.get(what)
        if tag is None:
            tag = self._base.copy()
            tag.update(what.encode() + b"\0")
            self._tags[what] = tag
        state = tag.copy()
        state.update(b"%d,%d" % (i, j))
        return int.from_bytes(state.digest(), "big")

    def below(self, n: int, what: str, i: int = 0, j: int = 0) -> int:
        """0..n-1; n is far below 2**64, so the bias of the remainder is nothing."""
        return self.bits(what, i, j) % n

    def happens(self, share: float, what: str, i: int = 0, j: int = 0) -> bool:
        """True for this share of addresses."""
        return share >= 1.0 or self.bits(what, i, j) % 100_000 < round(share * 100_000)


class Ring:
    """A permutation of 0..n-1 and its inverse."""

    __slots__ = ("_a", "_b", "_back", "n")

    def __init__(self, n: int, key: int) -> None:
        self.n = n
        a = (key >> 20) % n if n else 0
        # A multiplier near the golden section keeps neighbours apart; the key moves it.
        a = (a // 2 + n * 377 // 610) % n if n > 8 else a
        while n and gcd(a, n) != 1:
            a = (a + 1) % n if n > 1 else 1
        self._a = a
        self._b = key % n if n else 0
        self._back = pow(a, -1, n) if n > 1 else 0

    def forward(self, i: int) -> int:
        return (self._a * i + self._b) % self.n

    def inverse(self, rank: int) -> int:
        return (self._back * (rank - self._b)) % self.n


class FanMap:
    """Maps 0..n-1 onto 0..m-1 in order. `skew` 0 spreads evenly; with c the first objects get (1+c) times the mean."""

    __slots__ = ("_c", "_whole", "m", "n")

    def __init__(self, n: int, m: int, skew: int = 0) -> None:
        self.n, self.m, self._c = n, m, skew
        self._whole = n * n * (1 + skew)

    def forward(self, k: int) -> int:
        return self.m * k * (self.n + self._c * k) // self._whole

    def interval(self, target: int) -> tuple[int, int]:
        """The ranks [low, high) that meet in `target`."""
        return self._first(target), self._first(target + 1)

    def _first(self, target: int) -> int:
        """The least k with forward(k) >= target."""
        n, c = self.n, self._c
        if target <= 0 or not n:
            return 0
        need = -(-target * self._whole // self.m)
        k = -(-need // n) if c == 0 else (isqrt(n * n + 4 * c * need) - n) // (2 * c)
        while k * (n + c * k) < need:
            k += 1
        while k > 0 and (k - 1) * (n + c * (k - 1)) >= need:
            k -= 1
        return min(k, n)
