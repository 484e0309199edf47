"""Chat templates and masks beside transformers: the same text, and no trained token with a word of the program."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pipeline.served_environment import consume

TEMPLATES = Path(__file__).parents[1] / "unit" / "chat_templates"


@pytest.mark.pipeline
def test_transformers_gives_the_same_text_and_its_tokens_the_right_mask():
    done = consume("trl", "transformers_masks.py", TEMPLATES)

    assert done["templates"] == {path.stem: 25 for path in TEMPLATES.glob("*.jinja")}
    assert done["tokens"] > 100_000
    misplaced, lost, _ = done["masks"]
    assert (misplaced, lost) == (0, 0)
