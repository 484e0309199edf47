"""Where words stand in a text: whole words and numbers, in scripts with and without spaces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.agents.llm.claims import find_quote


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("東京は日本の首都であり、世界最大の都市である。", "日本の首都"),
        ("กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย", "เมืองหลวง"),
        ("면적은 100,210 km²이다", "100,210 km²"),
        ("北京2008年夏季奥运会", "2008年"),
        ("l'église d'Amiens", "église"),
        ("Area: 12,000, of which 12 are water.", "12"),
        ("It opened in 1901, and closed in 1950.", "1901"),
    ],
)
def test_words_of_any_script_can_be_quoted(text, quote):
    span = find_quote(text, quote)

    assert span is not None
    assert text[slice(*span)] == quote


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("Area: 12,000", "Area: 12"),
        ("Area: 12,000", "000"),
        ("Height: 3.5 km", "Height: 3"),
        ("Height: 3.5 km", "5 km"),
        ("北京2008年", "200"),
        ("Ælfgar", "Ælf"),
    ],
)
def test_pieces_of_words_and_numbers_cannot(text, quote):
    assert find_quote(text, quote) is None


@given(st.text(alphabet="日本0123a., ", max_size=30), st.text(alphabet="日本0123a., ", min_size=1, max_size=6))
def test_what_is_found_is_what_was_quoted(text, quote):
    span = find_quote(text, quote)

    assert span is None or text[slice(*span)].split() == quote.split()
