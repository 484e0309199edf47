"""The synthetic web as a source of pages, in order or by parts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from datagen.errors import ConfigError
from datagen.records.ids import content_id
from datagen.web.sources.raw import RawPage
from datagen.web.synthetic.addresses import Coverage
from datagen.web.synthetic.ontology import read_ontology
from datagen.web.synthetic.pages import SyntheticWeb

VERSION = 1
"""Raise it when the same seed gives other bytes."""


class SyntheticSource:
    """Pages `first`, `first + step`, ... of a synthetic web; by default all of them.

    Parts can be made anywhere: `SyntheticSource(7, 100_000, first=3, step=8)` is every eighth page from the fourth on.
    """

    kind = "synthetic"

    def __init__(
        self, seed: int, pages: int, *, first: int = 0, step: int = 1, coverage: Coverage | None = None
    ) -> None:
        if not 0 <= first < step:
            raise ConfigError(f"A part of a synthetic web needs 0 <= first < step, not first={first}, step={step}.")
        self.seed, self.pages, self.first, self.step = seed, pages, first, step
        self.coverage = coverage

    @property
    def name(self) -> str:
        shares = "" if self.coverage is None else "".join(f"-{round(100 * share)}" for share in self.coverage)
        return f"synthetic-{self.seed}-{self.pages}{shares}"

    @cached_property
    def web(self) -> SyntheticWeb:
        return SyntheticWeb(self.seed, self.pages, self.coverage)

    def fingerprint(self) -> str:
        """Identity of the content: seed, size, coverage, part, and the ontology it is made from."""
        return content_id(
            "syn1",
            {
                "version": VERSION,
                "seed": self.seed,
                "pages": self.pages,
                "part": [self.first, self.step],
                "ontology": read_ontology().catalogue.digest,
                **({} if self.coverage is None else {"coverage": list(self.coverage)}),
            },
        )

    def __len__(self) -> int:
        return len(range(self.first, self.pages, self.step))

    def __iter__(self) -> Iterator[RawPage]:
        for number in range(self.first, self.pages, self.step):
            url, payload = self.web.render_page(number)
            yield RawPage(url, payload, content_type="text/html", charset="utf-8")
