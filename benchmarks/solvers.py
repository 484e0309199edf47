"""How well the symbolic solvers answer certified questions through the two tools, and why they fail where they do.

    python benchmarks/solvers.py --pages 20000 --candidates 400

Every draft with a proof is tried by both solvers, before any other gate has picked the easy ones. A failure is counted
twice: by the solver's own word, and by the gold evidence. "not found" means that for some clue no page that states it
was visited (retrieval); "not read" means that every clue was on a visited page.
"""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
from collections import Counter
from pathlib import Path

from datagen.agents.roles import Solver
from datagen.config import load_config
from datagen.knowledge.answer_forms import is_correct
from datagen.pipeline.corpus import build_corpus
from datagen.pipeline.making import prepare
from datagen.pipeline.workshop import Workshop, open_workshop
from datagen.records.question import Attempt
from datagen.synthesis.draft import Draft

SEED = 11


def open_shop(pages: int, folder: Path) -> Workshop:
    overlays = [
        f'web.snapshot="{folder / f"snapshot-{pages}"}"',
        f'web.sources=["synthetic:seed={SEED},pages={pages}"]',
        f'run.directory="{folder / f"solvers-{pages}"}"',
    ]
    config = load_config("large", overlays)
    build_corpus(config)
    return open_workshop(prepare(config))


def is_found(draft: Draft, attempt: Attempt) -> bool:
    """Whether each clue of the proof is stated on a page that the attempt visited."""
    stating: dict[int, set[str]] = {}
    for evidence in draft.certificate.evidence if draft.certificate else ():
        stating.setdefault(evidence.clue, set()).add(evidence.url)
    return all(urls & set(attempt.urls) for urls in stating.values())


def row(shop: Workshop, solver: Solver, recipe: str, drafts: list[Draft]) -> str:
    said: Counter[str] = Counter()
    right = not_found = searches = visits = 0
    started = time.process_time()
    for draft in drafts:
        attempt = solver.solve(draft.question, shop.bench.web)
        searches, visits = searches + attempt.searches, visits + attempt.visits
        if is_correct(draft.answer, attempt.answer, attempt.answer_key):
            right += 1
        else:
            said[attempt.failure or "wrong answer"] += 1
            not_found += not is_found(draft, attempt)
    spent = time.process_time() - started
    count, failures = len(drafts), len(drafts) - right
    share = f"{not_found / failures:.0%}" if failures else "none failed"
    words = ", ".join(f"{word} {n}" for word, n in said.most_common()) or "-"
    return (
        f"| {dt.date.today()} | {recipe} | {solver.name} | {right / count:.1%} of {count} | {searches / count:.1f} "
        f"| {visits / count:.1f} | {1000 * spent / count:.1f} | {words} | {share} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=20_000)
    parser.add_argument("--candidates", type=int, default=400)
    parser.add_argument("--folder", type=Path, help="Keeps the snapshot here; a temporary folder otherwise.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        shop = open_shop(arguments.pages, arguments.folder or Path(temporary))
        print("| day | recipe | solver | solved | searches | visits | ms CPU | failures by its own word | not found |")
        print("|---|---|---|---|---|---|---|---|---|")
        for recipe in ("infoseek", "duetqa"):
            made = [shop.propose(i, recipe) for i in range(arguments.candidates)]
            drafts = [d for d in made if isinstance(d, Draft)]
            for solver in shop.context.solvers:
                print(row(shop, solver, recipe, drafts), flush=True)


if __name__ == "__main__":
    main()
