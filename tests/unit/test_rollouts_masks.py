"""Loss masks: by who wrote a character, whatever the tokenizer makes of it."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.rollout_logs import QUESTION, orderly
from tests.unit.test_rollouts_dialects import small_log

from datagen.errors import ExportError
from datagen.records.trajectory import Generation
from datagen.rollouts.dialects import DIALECTS, Segment
from datagen.rollouts.masks import exact_row, token_mask

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SEGMENTS = (
    Segment("<user>Who?<assistant>", trained=False),
    Segment("Ada.<end>", trained=True, turn=0),
    Segment("\n<result>Ada</result>", trained=False, turn=0),
    Segment("Ada", trained=True, turn=1),
)


def cut(text: str, points: list[int]) -> list[tuple[int, int]]:
    """Offsets of tokens that end at the given points."""
    ends = sorted({point % (len(text) + 1) for point in points} | {len(text)})
    return list(zip([0, *ends[:-1]], ends, strict=True))


def authors(segments) -> list[bool]:
    return [segment.trained for segment in segments for _ in segment.text]


@pytest.mark.parametrize("name", DIALECTS)
@FUZZ
@given(log=orderly(), points=st.lists(st.integers(0, 100_000), max_size=40))
def test_a_token_is_trained_exactly_where_the_model_wrote_all_of_it(name, log, points):
    rendered = DIALECTS[name].render(QUESTION, log)
    offsets = cut(rendered.text, points)
    by_model = authors(rendered.segments)

    masked = token_mask(rendered.segments, offsets)

    for place, (start, end) in enumerate(offsets):
        own = by_model[start:end]
        assert masked.mask[place] == int(bool(own) and all(own))
        assert (place in masked.straddling) == (any(own) and not all(own))
        assert (masked.turns[place] is not None) == bool(masked.mask[place])


def test_a_token_over_the_border_counts_as_the_programs_unless_asked_for():
    border = len(SEGMENTS[0].text)
    offsets = [(0, border - 1), (border - 1, border + 3), (border + 3, border + 9)]

    assert token_mask(SEGMENTS, offsets).mask == (0, 0, 1)
    assert token_mask(SEGMENTS, offsets).straddling == (1,)
    assert token_mask(SEGMENTS, offsets, "majority").mask == (0, 1, 1)
    assert token_mask(SEGMENTS, offsets, "trained").mask == (0, 1, 1)
    assert token_mask(SEGMENTS, [(border - 2, border + 1)], "majority").mask == (0,)


def test_marks_that_a_tokenizer_adds_are_not_trained_and_pieces_of_one_character_are():
    border = len(SEGMENTS[0].text)
    offsets = [(0, 0), (border, border + 1), (border, border + 1), (border, border)]

    assert token_mask(SEGMENTS, offsets).mask == (0, 1, 1, 0)


def test_the_same_words_are_trained_where_the_model_says_them_and_not_where_a_page_does():
    text = "".join(segment.text for segment in SEGMENTS)
    places = [k for k in range(len(text)) if text.startswith("Ada", k)]

    masked = token_mask(SEGMENTS, [(k, k + 3) for k in places])

    assert masked.mask == (1, 0, 1)
    assert masked.turns == (0, None, 1)


def test_the_engines_tokens_are_kept_and_only_the_programs_words_are_cut_anew():
    row = exact_row(
        SEGMENTS, [Generation(0, (7, 8, 9), (-0.1, -0.2, -0.3)), Generation(1, (5,))], lambda text: [len(text)]
    )

    assert row.token_ids == (len(SEGMENTS[0].text), 7, 8, 9, len(SEGMENTS[2].text), 5)
    assert row.mask == (0, 1, 1, 1, 0, 1)
    assert row.turns == (None, 0, 0, 0, None, 1)
    assert row.logprobs == (None, -0.1, -0.2, -0.3, None, None)


def test_an_attempt_with_a_turn_whose_tokens_are_missing_is_refused():
    with pytest.raises(ExportError, match="tokens of turn 1 are missing"):
        exact_row(SEGMENTS, [Generation(0, (1,))], lambda text: [len(text)])


def test_a_byte_level_tokenizer_gives_the_same_words_to_the_same_writers():
    tokenizers = pytest.importorskip(
        "tokenizers", reason="the masks are tried on a trained tokenizer where there is one"
    )
    logs = [small_log(answer=name) for name in ("Harlan Rovers", "東京ヴェルディ", "Ωμέγα 😀", "é\u0301")]
    texts = [dialect.render(QUESTION, log).text for log in logs for dialect in DIALECTS.values()]
    bytewise = tokenizers.Tokenizer(tokenizers.models.BPE())
    bytewise.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bytewise.train_from_iterator(texts, trainer)
    for log in logs:
        for dialect in DIALECTS.values():
            rendered = dialect.render(QUESTION, log)
            encoding = bytewise.encode(rendered.text)
            masked = token_mask(rendered.segments, encoding.offsets)
            kept = {k for (a, b), bit in zip(encoding.offsets, masked.mask, strict=True) if bit for k in range(a, b)}
            own = {k for k, by_model in enumerate(authors(rendered.segments)) if by_model}
            over = {k for p in masked.straddling for k in range(*encoding.offsets[p])}
            assert kept <= own
            assert own - kept <= over


def test_masks_of_a_long_attempt_are_made_in_one_pass():
    rng = random.Random(3)
    segments = [Segment("x" * rng.randint(1, 9), trained=k % 2 == 1, turn=k) for k in range(200_000)]
    text_length = sum(len(segment.text) for segment in segments)

    masked = token_mask(segments, [(k, k + 1) for k in range(text_length)])

    assert sum(masked.mask) == sum(len(segment.text) for segment in segments if segment.trained)
