"""What a body is, by its first bytes; what the server calls it only decides where they leave it open.

Four kinds are pages: HTML, XHTML, plain text, PDF. Servers call HTML by many names and pictures `text/html`; the bytes
know better.
"""

from __future__ import annotations

import codecs
import re

from datagen.errors import FetchError

HEAD_BYTES = 1_024
HTML, XHTML, PLAIN, PDF = "text/html", "application/xhtml+xml", "text/plain", "application/pdf"
_MARKUP = re.compile(
    rb"(?:\s|<!--.{0,900}?-->)*<(?:!doctype\s+html|html|head|body|title|meta|link|script|style|h[1-6]|div|p|table|main|article)\b",
    re.IGNORECASE | re.DOTALL,
)
_XML = re.compile(rb"\s*<\?xml\b", re.IGNORECASE)
_XML_HTML = re.compile(rb"<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_SIGNATURES = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"\x28\xb5\x2f\xfd",
    b"\x7fELF",
    b"MZ\x90",
    b"RIFF",
    b"OggS",
    b"ID3",
    b"7z\xbc\xaf",
    b"Rar!",
    b"wOF2",
    b"wOFF",
)
_TYPE = re.compile(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,60}")
"""Refusals are read by models, so a server does not get to write sentences into them."""
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_MAX_CONTROL_SHARE = 0.02


def media_type(declared: str | None, head: bytes) -> str:
    """The kind of a body that begins with `head`; raises `FetchError("type")` for what is no page."""
    name = (declared or "").partition(";")[0].strip().lower()
    called = name if _TYPE.fullmatch(name) else "something that is no type"
    if head.lstrip().startswith(b"%PDF-") or (name == PDF and b"%PDF-" in head):
        return PDF
    if _is_binary(head):
        raise FetchError(f"its bytes are no text; the server calls them {called}", "type")
    text = head.removeprefix(codecs.BOM_UTF8)
    if name in {PLAIN, "text/markdown"}:
        return PLAIN
    if _MARKUP.match(text) or (_XML.match(text) and _XML_HTML.search(text)):
        return XHTML if name == XHTML else HTML
    if name in {HTML, XHTML}:
        return name
    if not name:
        return PLAIN
    raise FetchError(f"the server calls it {called}, which is no page", "type")


def charset_of(declared: str | None) -> str | None:
    for parameter in (declared or "").split(";")[1:]:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "charset":
            return value.strip().strip("\"'").lower()[:40] or None
    return None


def _is_binary(head: bytes) -> bool:
    if head.startswith(_UTF16):
        return False
    return head.startswith(_SIGNATURES) or len(_CONTROLS.findall(head)) > _MAX_CONTROL_SHARE * len(head)
