"""Identity is content, and randomness has an address.

An id is SHA-256 over canonical JSON of the fields that define the thing, with a version prefix, so equal runs give
equal ids at any concurrency. A draw comes from a generator derived from (seed, stage, record), so order, sharding and
worker count cannot change it, and one record can be replayed alone.

>>> content_id("qa1", {"b": 1, "a": "é"}) == content_id("qa1", {"a": "é", "b": 1})
True
>>> rng_for(7, "walk", 3).random() == rng_for(7, "walk", 3).random()
True
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping


def canonical_json(value: object) -> bytes:
    """Sorted, compact, UTF-8. No `default=`: what JSON cannot express must fail, not enter the digest by its repr."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def content_id(kind: str, fields: Mapping[str, object]) -> str:
    """`content_id("qa1", ...)` -> `"qa1-5f0c..."`. Bump the digit in `kind` when the defining fields change."""
    return f"{kind}-{sha256_hex(canonical_json(fields))[:24]}"


def seed_for(*address: str | int) -> int:
    """64-bit seed of an address such as (run seed, stage, record id)."""
    return int.from_bytes(hashlib.sha256(canonical_json(list(address))).digest()[:8], "big")


def rng_for(*address: str | int) -> random.Random:
    """A private generator for one address; nothing in the system seeds or draws from the global one."""
    return random.Random(seed_for(*address))
