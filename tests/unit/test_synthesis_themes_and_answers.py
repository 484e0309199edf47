from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import ConfigError
from datagen.knowledge.answer_forms import contains_words, is_correct, normalise_answer, telling_words, words_of
from datagen.knowledge.literals import date_interval, day, number_literal, parse_literal, text_literal
from datagen.records.fact import Entity, Literal
from datagen.records.question import Answer
from datagen.synthesis.answers import as_asked, entity_answer, literal_answer
from datagen.synthesis.themes import load_seed_questions, load_taxonomy

DATA = Path(__file__).parents[2] / "data"
ROVERS = entity_answer(Entity("https://a.test/1", "Harlan Rovers", "club", ("The Rovers",)))


def test_the_taxonomy_has_more_than_200_themes_in_two_levels_each_with_search_words():
    taxonomy = load_taxonomy(DATA / "themes.toml")

    assert len(taxonomy.themes) >= 200
    assert len(taxonomy.domains) >= 15
    assert all(theme.words and theme.id.startswith(f"{theme.domain}/") for theme in taxonomy.themes)


def test_a_sample_of_themes_has_no_repetition_and_every_configured_size():
    taxonomy = load_taxonomy(DATA / "themes.toml")
    samples = [taxonomy.sample((5, 6, 7), random.Random(i)) for i in range(100)]

    assert {len(s) for s in samples} == {5, 6, 7}
    assert all(len(set(s)) == len(s) for s in samples)


def test_there_are_100_seed_questions_with_distinct_texts_and_multi_hop_or_multi_clue_skeletons():
    seeds = load_seed_questions(DATA / "seed_questions.jsonl")

    assert len(seeds) == 100
    assert len({s.id for s in seeds}) == len({s.text for s in seeds}) == 100
    assert {s.asks for s in seeds} == {"entity", "date", "number"}
    assert all(len(s.skeleton.clues) >= 2 or s.skeleton.clues[0].child for s in seeds)


def test_a_seed_line_of_another_shape_is_refused_with_its_number(tmp_path):
    path = tmp_path / "seeds.jsonl"
    path.write_text(
        '{"id": "s", "text": "t", "skeleton": {"asks": "entity", "hint": "h", "clues": [{"shape": "ring"}]}}'
    )

    with pytest.raises(ConfigError, match=r"seeds\.jsonl:1"):
        load_seed_questions(path)


def test_a_theme_file_with_a_theme_twice_is_refused(tmp_path):
    path = tmp_path / "themes.toml"
    theme = '{ id = "a", name = "A", words = ["a"] }'
    path.write_text(f'[[domain]]\nid = "d"\ntheme = [{theme}, {theme}]\n')

    with pytest.raises(ConfigError, match="an id of its own"):
        load_taxonomy(path)


def test_names_are_correct_by_key_by_name_and_by_alias_whatever_their_case_and_articles():
    assert is_correct(ROVERS, "rovers")
    assert is_correct(ROVERS, "the HARLAN rovers!")
    assert is_correct(ROVERS, "something else", "https://a.test/1")
    assert not is_correct(ROVERS, "Harlan Rovers", "https://a.test/2")
    assert not is_correct(ROVERS, None)
    assert not is_correct(ROVERS, "Harlan")


@pytest.mark.parametrize(
    ("literal", "canonical", "right", "wrong"),
    [
        (day("1901-03-03"), "1901-03-03", ["3 March 1901", "March 3, 1901", "1901-03-03"], ["1901", "March 1901"]),
        (Literal("date", "1901", *map(float, (693_961, 694_325))), "1901", ["1901", "3 March 1901"], ["1902", "1900s"]),
        (
            number_literal(2_381_740, "sq km"),
            "2,381,740 sq km",
            ["2381740", "2,381,740 sq km"],
            ["2,381,741", "2381740 km"],
        ),
        (number_literal(4.5), "4.5", ["4.5"], ["4", "45"]),
        (text_literal("green and white"), "green and white", ["Green and White"], ["green"]),
    ],
)
def test_literal_answers_grade_by_value_and_not_by_wording(literal, canonical, right, wrong):
    answer = literal_answer(literal)

    assert answer is not None
    assert answer.canonical == canonical
    assert [form for form in right if not is_correct(answer, form)] == []
    assert [form for form in wrong if is_correct(answer, form)] == []


def test_a_question_for_a_year_is_answered_with_a_year():
    answer = literal_answer(day("2004-11-27"))

    assert as_asked(answer, "In which year was the film released?").text == "2004"
    assert as_asked(answer, "When was the film released that came out in the year 850?") == answer
    assert is_correct(as_asked(answer, "In which year was it?"), "27 November 2004")


def test_values_too_vague_to_be_graded_give_no_answer():
    assert literal_answer(date_interval(693_961, 697_612)) is None
    assert literal_answer(Literal("number", "40 to 60", 40.0, 60.0)) is None


@given(st.integers(1, 3_000_000), st.sampled_from(["", "km", "seats"]))
@settings(max_examples=60)
def test_every_exact_number_makes_an_answer_that_reads_back_to_itself(value, unit):
    answer = literal_answer(number_literal(value, unit))

    assert answer is not None
    assert is_correct(answer, answer.canonical)
    assert all(is_correct(answer, form) for form in answer.aliases)
    assert parse_literal(answer.canonical, "number", unit) is not None


def test_words_are_compared_without_accents_case_or_thousands_separators():
    assert words_of("Crème-de-la O'Neill, 2,381,740.5 km") == ("creme", "de", "la", "oneill", "2381740.5", "km")
    assert normalise_answer("The  Àrden!") == "arden"


def test_a_run_of_words_is_found_only_as_whole_words():
    assert contains_words(words_of("the garden of arden"), ("arden",))
    assert not contains_words(words_of("the gardens"), ("garden",))
    assert not contains_words(("a",), ())


def test_only_distinctive_words_of_a_name_tell_on_its_bearer():
    assert telling_words("The North Harlan Football Club of 1901", ("football", "club")) == {"harlan"}


def test_an_alias_free_text_answer_is_its_own_form():
    assert is_correct(Answer("green", "text", "green"), "Green")


@pytest.mark.parametrize("words", ["81.7 years", "37.4%", "12.424 million t", "47,200"])
def test_the_key_of_a_rounded_figure_is_the_figure_itself(words: str):
    literal = parse_literal(words, "number")
    assert literal is not None
    answer = literal_answer(literal)
    assert answer is not None
    assert answer.canonical == words


def test_themes_can_be_drawn_from_named_domains_only():
    taxonomy = load_taxonomy(DATA / "themes.toml")
    drawn = {t.domain for i in range(50) for t in taxonomy.sample((5, 6), random.Random(i), ("land", "energy"))}
    assert drawn == {"land", "energy"}
    with pytest.raises(ConfigError, match="can name any of sport, "):
        taxonomy.sample((5,), random.Random(0), ("nowhere",))
