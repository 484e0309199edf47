"""Going through a whole class page by page, the way a patient reader does when nothing else is left.

Pages of one class often share a folder, and the folder's own address is a page that links them all:

    https://profiles.example/countries/chad/  →  https://profiles.example/countries/  →  every country's page

Only as many members are visited as the budget leaves after a reserve for what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from datagen.agents.symbolic.page_memory import PageMemory
from datagen.web.tools import Hit

RESERVE = 40
"""Visits kept for testing what the scan brings up."""
FOLDERS_TRIED = 2


def scan_class(memory: PageMemory, hits: Sequence[Hit], type_id: str) -> list[str]:
    """Visit members of a class that the folder above one of the hits links to; returns those that were read."""
    notebook = memory.notebook
    of_class = [h.url for h in hits if notebook.could_be(h.url, (type_id,))]
    folders = dict.fromkeys(folder for url in of_class if (folder := _folder_above(url)) is not None)
    for folder in list(folders)[:FOLDERS_TRIED]:
        if memory.visits_left <= RESERVE or memory.read(folder) is None:
            continue
        linked = [url for url, _ in memory.readings[folder].mentions if _folder_above(url) == folder]
        memory.read_all(linked[: memory.visits_left - RESERVE])
        if linked:
            break
    return [k for k in notebook.types if k in memory.pages and notebook.could_be(k, (type_id,))]


def _folder_above(url: str) -> str | None:
    """The address one step up, None at the top of a host."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/").rpartition("/")[0]
    return f"{parts.scheme}://{parts.netloc}{path}/" if path else None
