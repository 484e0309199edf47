"""The dataset card, generated from the rows and the run: YAML front matter, one full example, funnel, figures, faults.

Every number comes from the release itself (`statistics`, the rows) or from the run's record (`ReleaseMeta`); the template
holds only words. A section whose figures do not exist is left out, never filled with a guess.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Any

import jinja2

from datagen.dataset.attempts import AttemptFigures
from datagen.dataset.statistics import FunnelRow, certificates
from datagen.records.question import UNBOUNDED

Row = Mapping[str, Any]

RECIPE_TEXTS = {
    "duetqa": (
        "DUETQA self-play (Fathom-DeepResearch). A proposer gathers dated facts on five to seven themes through the two "
        "tools, chains some of them into a multi-hop question, obfuscates dates, numbers and names; proposer and verifier "
        "swap roles, both must agree with the key in fresh contexts, and a guesser without search must fail."
    ),
    "infoseek": (
        "InfoSeek research trees. A planner and a browser grow a tree of constraints with four actions (initialise, blur "
        "with claims none of which contains another, extend over a link, terminate); every inner vertex is identified only "
        "through its own clues and never named."
    ),
}

SIZE_CATEGORIES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, slots=True)
class ReleaseMeta:
    """What the card says that the rows do not: names, licence, and the run that made them."""

    pretty_name: str
    source: str
    """One or two sentences on the pages, ending in a full stop."""
    licence: str
    licence_note: str
    snapshot: str
    config_digest: str
    seed: int
    code: str
    cast: str
    fictional: bool
    contamination: str
    known_faults: tuple[str, ...]
    languages: tuple[str, ...] = ("en",)
    load_path: str = "path/to/this/folder"
    config: Mapping[str, Any] = field(default_factory=dict)
    snapshot_manifest: Mapping[str, Any] = field(default_factory=dict)

    def provenance(self) -> dict[str, Any]:
        return asdict(self)


def size_category(rows: int) -> str:
    return next((name for limit, name in SIZE_CATEGORIES if rows < limit), "n>1M")


def _cell(text: object) -> str:
    """Text safe inside one cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _size(value: int) -> str:
    return "unbounded" if value == UNBOUNDED else f"{value:,}"


def environment() -> jinja2.Environment:
    """The template environment; a variable that is missing fails instead of printing nothing."""
    env = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - the output is Markdown; the Hub sanitises what it renders
    )
    env.filters["cell"] = _cell
    env.filters["counts"] = _counts
    env.filters["percent"] = _percent
    env.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return env


def render_card(
    meta: ReleaseMeta,
    rows: Sequence[Row],
    statistics: Mapping[str, Any],
    steps: Sequence[FunnelRow],
    *,
    splits: Mapping[str, tuple[int, int]],
    example: Row | None,
    attempts: AttemptFigures | None = None,
    quality: str = "",
) -> str:
    """The README.md of a release.

    `splits` maps a split to (rows, answer entities); `example` is a whole row; `quality` is a report in Markdown.
    """
    template = (files("datagen.dataset") / "templates" / "card.md.j2").read_text(encoding="utf-8")
    split_rows = [{"name": n, "rows": r, "entities": e} for n, (r, e) in splits.items()]
    configs = [{"name": "qa", "splits": split_rows}] if split_rows else []
    return (
        environment()
        .from_string(template)
        .render(
            meta=meta,
            statistics=statistics,
            splits=split_rows,
            configs=[*configs, *_attempt_configs(attempts), {"name": "rejects", "splits": [{"name": "train"}]}],
            attempts=attempts,
            quality=quality,
            measured=measured,
            size_category=size_category(len(rows)),
            recipes=_recipes(steps),
            assumptions=sorted({a for proof in certificates(rows) for a in proof["assumptions"]}),
            uncertified=sum(row["certificate"] is None for row in rows),
            **_spend_parts(statistics),
            example=example,
            **(_example_parts(example) if example else {}),
        )
    )


def _attempt_configs(attempts: AttemptFigures | None) -> list[dict[str, Any]]:
    tables = attempts.splits if attempts else {}
    return [
        {"name": table, "splits": [{"name": name} for name in splits]} for table, splits in tables.items() if splits
    ]


def _recipes(steps: Sequence[FunnelRow]) -> list[dict[str, Any]]:
    return [
        {
            "name": recipe,
            "text": RECIPE_TEXTS.get(recipe, ""),
            "funnel": [_funnel_view(step) for step in steps if step.recipe == recipe],
        }
        for recipe in sorted({step.recipe for step in steps})
    ]


def _funnel_view(step: FunnelRow) -> dict[str, Any]:
    top = sorted(step.reasons.items(), key=lambda kv: (-kv[1], kv[0]))[:3]
    return {
        "gate": step.gate,
        "entered": step.entered,
        "stopped": step.stopped,
        "top": ", ".join(f"{reason} {count:,}" for reason, count in top),
    }


def choose_example(rows: Sequence[Row]) -> Row | None:
    """A row that shows most: deep, several pages, not overlong; ties by id, so the card is reproducible."""
    if not rows:
        return None

    def key(row: Row) -> tuple[int, int, str]:
        shape = row["difficulty"]
        fits = 4 <= shape["vertices"] <= 8 and len(row["question"].split()) <= 70
        return (not fits, -(shape["depth"] * 2 + (shape["min_documents"] or 0)), row["id"])

    return min([row for row in rows if row["certificate"]] or rows, key=key)


def _example_parts(row: Row) -> dict[str, Any]:
    certificate = row["certificate"]
    proven = _proof_parts(row) if certificate else {"example_clues": [], "example_sizes": "", "example_excluded": ""}
    return proven | {
        "example_hops": [] if certificate else row["hops"],
        "example_solvers": "; ".join(
            f"{a['solver']} ({a['searches']} searches, {a['visits']} visits)" for a in row["attempts"]
        )
        or "not asked",
        "example_guesses": ", ".join(row["guesses"]) or "not asked",
    }


def _proof_parts(row: Row) -> dict[str, Any]:
    certificate = row["certificate"]
    first_by_clue = {item["clue"]: item for item in reversed(row["evidence"])}
    clues = []
    for index, item in sorted(first_by_clue.items()):
        clues.append(
            {
                "text": certificate["clues"][index],
                "necessity": _size(certificate["necessity"][index]),
                "host": item["host"],
                "url": item["url"],
                "kind": item["source_kind"],
                "quote": item["quote"],
            }
        )
    excluded = {k.replace("_", " "): v for k, v in (certificate["excluded_by"] or {}).items() if v}
    return {
        "example_clues": clues,
        "example_sizes": " → ".join(_size(s) for s in certificate["sizes"]),
        "example_excluded": _counts(excluded),
    }


SPEND_LINES = (
    ("model calls", "calls", "judge_calls"),
    ("input tokens", "input_tokens", "judge_input_tokens"),
    ("output tokens", "output_tokens", "judge_output_tokens"),
    ("money, USD", "cost_usd", "judge_cost_usd"),
)


def _spend_parts(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Lines of the table of costs: what, making in all, judging in all, making and judging per accepted row."""
    spent = statistics["spending"]
    total, each = spent["total"], spent["per_accepted"]
    lines = [
        (name, measured(total[making]), measured(total[judging]), measured(each[making]), measured(each[judging]))
        for name, making, judging in SPEND_LINES
    ]
    return {"spend": total, "spend_lines": lines, "spent": spent}


def measured(value: float | None) -> str:
    """A figure for people: four significant places of a fraction, and never a 0 for what nobody measured."""
    if value is None:
        return "not measured"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"


def _percent(rate: float | None) -> str:
    return "not measured" if rate is None else f"{100 * rate:.1f} %"
