"""Text of PDF files, read by a process of its own.

A PDF is a program of sorts: files are known that keep a parser busy for hours or fill the memory. So each is read by a
short-lived process with a limit on its time and its memory; whatever happens there costs one page. Starting it takes
0.3 s, which is little beside a download.

Text is what the file's own text operators say, page by page; pictures of text stay pictures.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import orjson

from datagen.errors import FetchError

MAX_PAGES = 200
MAX_CHARS = 2_000_000
_SECONDS = 60.0
_MEMORY_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class PdfText:
    """Text of a document, its pages apart by a blank line. `title` is what the file says of itself."""

    text: str
    title: str | None
    pages: int


def read_pdf(body: bytes) -> PdfText:
    """Raises `FetchError` with reason pdf for a file that is damaged, locked, too slow or without text."""
    command = [sys.executable, "-m", "datagen.web.pdf"]
    try:
        done = subprocess.run(
            command, input=body, capture_output=True, timeout=_SECONDS, check=False, env=_environment()
        )
    except subprocess.TimeoutExpired as exc:
        raise FetchError(f"the PDF was not read within {_SECONDS:g} seconds", "pdf") from exc
    if done.returncode:
        raise FetchError("the PDF cannot be read", "pdf")
    said = orjson.loads(done.stdout)
    if "fault" in said:
        raise FetchError(f"the PDF cannot be read: {said['fault']}", "pdf")
    return PdfText(**said)


def _environment() -> dict[str, str]:
    """What Python needs to start. Keys of services stay here."""
    return {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "LC_ALL") if name in os.environ}


def _read_here(body: bytes) -> dict[str, object]:
    """The reading itself; runs in the process of its own."""
    import io

    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        reader = PdfReader(io.BytesIO(body))
        if reader.is_encrypted and not reader.decrypt(""):
            return {"fault": "it is locked with a password"}
        texts: list[str] = []
        for page in reader.pages[:MAX_PAGES]:
            texts.append(page.extract_text().strip())
            if sum(map(len, texts)) > MAX_CHARS:
                break
        title = reader.metadata.title if reader.metadata else None
    except (PyPdfError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as exc:
        return {"fault": f"{type(exc).__name__}"}
    text = "\n\n".join(filter(None, texts))[:MAX_CHARS]
    if not text.strip():
        return {"fault": "it holds no text"}
    return {"text": text, "title": " ".join(title.split())[:300] or None if title else None, "pages": len(reader.pages)}


def _main() -> None:
    import logging
    import resource

    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(_SECONDS), int(_SECONDS)))
    said = _read_here(sys.stdin.buffer.read())
    # Lone surrogates come from broken fonts; nothing could write them.
    clean = {
        key: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for key, value in said.items()
    }
    sys.stdout.buffer.write(orjson.dumps(clean))


if __name__ == "__main__":
    _main()
