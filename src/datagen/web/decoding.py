"""Bytes to text. Decoding never raises; what is not text is said to be binary.

The order of belief: a byte order mark; UTF-8 if the bytes are valid UTF-8, since text in another encoding almost never
is; what the transport declares; what the page declares; what the bytes look like.
"""

from __future__ import annotations

import codecs
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([a-zA-Z0-9_.:-]{2,30})", re.IGNORECASE)
_SNIFFED_BYTES = 2_048
_SIGNATURES = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"%PDF",
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"\x7fELF",
    b"RIFF",
    b"\x00\x00\x01\x00",
    b"OggS",
    b"ID3",
    b"7z\xbc\xaf",
    b"wOF2",
    b"wOFF",
)
_CONTROLS = bytes(set(range(32)) - {9, 10, 12, 13, 27})
_MAX_CONTROL_SHARE = 0.02
"""Text has no control characters; a page with a stray one is still text."""


def is_binary(payload: bytes, charset: str | None) -> bool:
    """A known signature, or control bytes where text has none (UTF-16 has NULs, and says so)."""
    head = payload[:_SNIFFED_BYTES]
    if head.startswith(_SIGNATURES):
        return True
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or (charset or "").startswith("utf-16"):
        return False
    return len(head) - len(head.translate(None, _CONTROLS)) > _MAX_CONTROL_SHARE * len(head)


def decode(payload: bytes, declared: str | None) -> str:
    for mark, name in _MARKS:
        if payload.startswith(mark):
            return payload.decode(name, "replace")
    names: list[str | None] = ["utf-8", declared, _declared_inside(payload)]
    if (declared or "").startswith("utf-16"):
        names.insert(0, declared)
    for candidate in names:
        text = _try(payload, candidate)
        if text is not None:
            return text
    return _replace(payload, detect_encoding(payload[:65_536]) or "utf-8")


def _declared_inside(payload: bytes) -> str | None:
    match = _META_CHARSET.search(payload, 0, 4_096)
    return match.group(1).decode("ascii").lower() if match else None


def _try(payload: bytes, name: str | None) -> str | None:
    if not name:
        return None
    try:
        # The web's names: what pages call latin-1 is windows-1252.
        return payload.decode(map_encoding_to_html5(name) or name)
    except (LookupError, UnicodeDecodeError, ValueError):
        return None


def _replace(payload: bytes, name: str) -> str:
    try:
        return payload.decode(name, "replace")
    except LookupError:
        return payload.decode("utf-8", "replace")
