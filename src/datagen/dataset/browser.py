"""One self-contained HTML file to read questions with their proof: no server, no network, works from a mail attachment.

The rows travel as JSON inside the page; the page filters, pages and renders them. Page text and questions are data: they
enter the document as text nodes only, and `</` is escaped in the JSON, so nothing a page says can run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

MAX_ROWS = 500
"""Rows in one file: about 2 MB, which a browser opens at once. The header says how many there are in all."""

KEPT = (
    "id",
    "question",
    "answer",
    "answer_aliases",
    "answer_type",
    "answer_entity_type",
    "recipe",
    "mode",
    "themes_used",
    "difficulty",
    "certificate",
    "evidence",
    "obfuscations",
    "question_raw",
    "attempts",
    "guesses",
    "closed_book",
    "oracle",
    "hops",
    "rivals_tried",
    "wording",
    "tree",
    "newest_evidence",
    "spend",
    "lineage",
)


def render_browser(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    total: int | None = None,
    attempts: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> str:
    """HTML text of the browser for the first `MAX_ROWS` rows, of `total` in all where these are not all.

    `attempts` are views of attempts by question id, from `attempt_views`.
    """
    tried = attempts or {}
    shown = [{key: row[key] for key in KEPT} | {"tried": tried.get(row["id"], [])} for row in rows[:MAX_ROWS]]
    data = json.dumps(
        {"title": title, "total": len(rows) if total is None else total, "rows": shown},
        ensure_ascii=False,
        separators=(",", ":"),
    )
    template = (files("datagen.dataset") / "templates" / "browser.html").read_text(encoding="utf-8")
    return template.replace("__DATA__", data.replace("</", "<\\/").replace("<!--", "<\\!--"))
