"""Prompts are files: `data/prompts/NAME.j2`, strict about their variables, and hashed into every row they helped to make.

A file holds the system message and the user message, split by a line of `=====` :

    You check whether two answers are the same. …
    =====
    {{ section("question", question) }}
    …

`section` is the only way for text from outside into a prompt (see `fencing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template, TemplateError

from datagen.agents.llm.fencing import section
from datagen.clients.billing import current_bill
from datagen.clients.chat import Message
from datagen.errors import ConfigError
from datagen.records.ids import sha256_hex
from datagen.records.shipped import shipped_file

SEPARATOR = "\n=====\n"
PROMPTS_OF = {
    "planner": ("action",),
    "browser": ("claims", "choice"),
    "proposer": ("proposer",),
    "obfuscator": ("choice",),
    "writer": ("wording", "question"),
    "solver": ("solver", "rival", "open_book"),
    "policy": ("rollout",),
    "labeller": ("step_labels",),
    "guesser": ("guess",),
    "judge": ("same_answer", "same_question"),
}
"""What each role is asked with."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt file. `digest` is the first 12 hex digits of the SHA-256 of its bytes."""

    name: str
    source: str
    digest: str

    def render(self, **variables: object) -> tuple[Message, Message]:
        """The system and user turns; goes on the open bill as "name@digest"."""
        system, user = self._split()
        current_bill().prompts.setdefault(f"{self.name}@{self.digest}")
        try:
            return Message("system", _compiled(system).render(variables).strip()), Message(
                "user", _compiled(user).render(variables).strip()
            )
        except TemplateError as exc:
            raise ConfigError(f"the prompt {self.name} cannot be filled in: {exc}.") from exc

    def _split(self) -> tuple[str, str]:
        system, separator, user = self.source.partition(SEPARATOR)
        if not separator:
            raise ConfigError(f"the prompt {self.name} has no line of `=====` between its system and its user part.")
        return system, user


@cache
def _compiled(source: str) -> Template:
    # Prompts are not HTML; `section` escapes what comes from outside.
    environment = Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)  # noqa: S701
    environment.globals["section"] = section
    return environment.from_string(source)


class PromptBook:
    """All prompts of a folder; the shipped ones unless the config names another."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or shipped_file("prompts")
        self._read: dict[str, Prompt] = {}

    def __getitem__(self, name: str) -> Prompt:
        if name not in self._read:
            path = self.folder / f"{name}.j2"
            if not path.is_file():
                raise ConfigError(f"{path} is missing; the prompts here are {', '.join(self.names())}.")
            source = path.read_text(encoding="utf-8")
            self._read[name] = Prompt(name, source, sha256_hex(source.encode())[:12])
        return self._read[name]

    def names(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.j2"))

    def digests(self) -> dict[str, str]:
        """Digest by name of every prompt: part of a run's identity."""
        return {name: self[name].digest for name in self.names()}
