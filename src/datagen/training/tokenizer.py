"""A byte-level tokenizer of a few hundred to a few thousand tokens, trained on our own text.

Digits are tokens by twos, marks are tokens of their own; words carry the blank before them. Every string comes back exactly:
a tokenizer that put blanks between digits would make every number a wrong answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from datagen import storage

PIECES = r" ?\d{1,2}|\n| ?[^\s\d\p{P}]+| ?\p{P}|\s"
"""Two digits, a line break, a word or a mark of punctuation with the blank before it.

Digits go in pairs: to copy 1976, a small model has to find 19 and 76 again rather than the right one of all the 7s."""


class Tokens(Protocol):
    """Text to tokens and back, within one conversation."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, tokens: Sequence[int]) -> str: ...

    def mark(self, name: str) -> int: ...

    def mark_name(self, token: int) -> str | None:
        """The mark that a token is; None for every other token."""
        ...


class Vocabulary(Protocol):
    """The tokens that a small model has."""

    @property
    def size(self) -> int: ...

    def mark(self, name: str) -> int: ...

    def begin(self, question: str) -> Tokens:
        """Text and tokens of a conversation about this question."""
        ...

    def save(self, file: str | Path) -> None: ...


def load_vocabulary(file: str | Path, marks: Sequence[str]) -> Vocabulary:
    """Bytes or words, as the file says."""
    from datagen.training.words import KIND, WordTokenizer

    raw = storage.read_json(str(file))
    return WordTokenizer.of(raw) if raw.get("kind") == KIND else CompactTokenizer.load(file, marks)


class CompactTokenizer:
    """Text to ids and back; marks are only ever made by name, never from text."""

    def __init__(self, tokenizer: Tokenizer, marks: Sequence[str]) -> None:
        self.inner = tokenizer
        known = {name: tokenizer.token_to_id(name) for name in marks}
        self.marks = {name: token for name, token in known.items() if token is not None}
        missing = sorted(known.keys() - self.marks.keys())
        if missing:
            raise ValueError(f"the tokenizer has no {', '.join(missing)}")

    @classmethod
    def train(cls, texts: Iterable[str], *, size: int, marks: Sequence[str]) -> CompactTokenizer:
        """Byte pairs over `texts`. Equal texts in equal order give equal tokenizers."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(PIECES), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(marks),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer, marks)

    @classmethod
    def load(cls, file: str | Path, marks: Sequence[str]) -> CompactTokenizer:
        return cls(Tokenizer.from_file(str(file)), marks)

    def save(self, file: str | Path) -> None:
        self.inner.save(str(file))

    @property
    def size(self) -> int:
        return int(self.inner.get_vocab_size())

    @cached_property
    def _names(self) -> dict[int, str]:
        return {token: name for name, token in self.marks.items()}

    @cached_property
    def _plain(self) -> Tokenizer:
        """The same without its marks: text that spells one is text."""
        plain = Tokenizer.from_str(self.inner.to_str())
        plain.encode_special_tokens = True
        return plain

    def mark(self, name: str) -> int:
        return self.marks[name]

    def mark_name(self, token: int) -> str | None:
        return self._names.get(token)

    def begin(self, question: str) -> Tokens:  # noqa: ARG002  the same tokens whatever is asked
        return self

    def encode(self, text: str) -> list[int]:
        return list(self._plain.encode(text).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self.inner.decode(list(tokens), skip_special_tokens=False))
