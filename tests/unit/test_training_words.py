"""A vocabulary of words, and places for what a conversation brings along."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.training.framing.compact import END, MARKS
from datagen.training.tokenizer import CompactTokenizer, load_vocabulary
from datagen.training.words import COMMON_NAMES, OTHER, PIECE, WordTokenizer

TEXTS = [
    "Which region contains the town of Velmo?",
    "The town of Velmo lies in New Trisk.",
    "place of birth ; region",
] * 3
NAMES = ["Velmo", "New Trisk", "Aga Brun", *(f"New Place{i}" for i in range(COMMON_NAMES))]
WORDS = WordTokenizer.make(TEXTS, NAMES, size=60, marks=MARKS, places=20)


def test_names_are_not_words_and_sorts_of_things_are():
    assert {"Which", "town", "New", "1", "9"} <= set(WORDS.words)
    assert not {"Velmo", "Trisk", "1970"} & set(WORDS.words)
    assert WORDS.size <= 60


def test_a_name_is_one_token_a_word_and_the_same_one_as_long_as_the_conversation_lasts():
    table = WORDS.begin("Which region contains Velmo?")

    first = table.encode("Velmo lies in New Trisk")
    again = table.encode("New Trisk is the town of Velmo")

    assert first[0] == again[-1]
    assert first[-2:] == again[:2]
    assert WORDS.first_place <= first[0] < WORDS.first_word
    assert table.decode(first) == "Velmo lies in New Trisk"


def test_places_are_drawn_anew_for_every_question_and_alike_for_one():
    def place(question: str) -> int:
        return WORDS.begin(question).encode("Velmo")[0]

    assert place("a?") == place("a?")
    assert len({place(f"question {n}") for n in range(40)}) > 10


def test_numbers_and_dates_come_back_whole():
    table = WORDS.begin("q")

    for text in ("5,620 sq km", "17 September 1856", "1408", "12,345.6"):
        assert table.decode(table.encode(text)) == text
    assert len(table.encode("779,698")) == 1


def test_words_for_which_no_place_is_left_are_marked_as_others():
    small = WordTokenizer.make(TEXTS, NAMES, size=60, marks=MARKS, places=2)
    table = small.begin("q")

    assert table.decode(table.encode("Alfa Beta Gamma Alfa")) == f"Alfa Beta {OTHER} Alfa"


def test_a_place_that_nothing_was_given_to_reads_as_another_word():
    assert WORDS.begin("q").decode([WORDS.first_place]) == OTHER


def test_text_that_spells_a_mark_is_text():
    table = WORDS.begin("q")

    assert WORDS.mark(END) not in table.encode("an <end> of <answer>")
    assert all(table.mark_name(token) is None for token in table.encode("<end>"))


@given(st.text(alphabet="AaBbé 19,.'-?\n(", max_size=40), st.text(alphabet="xyz", max_size=3))
@settings(deadline=None)
def test_what_was_decoded_is_encoded_to_the_same_tokens(text, question):
    table = WordTokenizer.make(TEXTS, NAMES, size=120, marks=MARKS, places=80).begin(question)

    tokens = table.encode(text)

    assert table.encode(table.decode(tokens)) == tokens
    assert len(tokens) == len(PIECE.findall(text))


@given(st.lists(st.from_regex(r"[A-Z][a-zé]{2,8}(?:-[a-z]{3})?", fullmatch=True), min_size=1, max_size=5))
@settings(deadline=None)
def test_names_come_back_as_they_were(words):
    name = " ".join(words)
    table = WORDS.begin("q")

    assert table.decode(table.encode(name)) == name


def test_a_file_says_which_of_the_two_vocabularies_it_holds(tmp_path):
    WORDS.save(tmp_path / "words.json")
    CompactTokenizer.train(TEXTS, size=300, marks=MARKS).save(tmp_path / "bytes.json")

    words, pieces = (load_vocabulary(tmp_path / f"{name}.json", MARKS) for name in ("words", "bytes"))

    assert isinstance(words, WordTokenizer)
    assert (words.words, words.places, words.marks) == (WORDS.words, WORDS.places, WORDS.marks)
    assert isinstance(pieces, CompactTokenizer)
    assert pieces.begin("q").decode(pieces.encode("Velmo 12")) == "Velmo 12"


def test_a_vocabulary_without_room_for_words_is_refused():
    with pytest.raises(ValueError, match="no room"):
        WordTokenizer.make(TEXTS, NAMES, size=20, marks=MARKS, places=20)
