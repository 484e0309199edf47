"""verl's dataset for conversations, with schemas of tools and arguments of calls read from JSON text.

As structs in Parquet, `search` would have the arguments of `visit` as nulls and chat templates would print them; so
exports hold text, and this class gives templates the objects that they expect.
"""

from __future__ import annotations

import json
from typing import Any

from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset


class SearchSFTDataset(MultiTurnSFTDataset):  # type: ignore[misc]
    """`data.custom_cls` of an export for verl."""

    tools: list[Any] | None
    messages: list[list[dict[str, Any]]]

    def _read_files_and_process(self) -> None:
        super()._read_files_and_process()
        read: dict[str, Any] = {text: json.loads(text) for text in set(self.tools or ()) if isinstance(text, str)}
        self.tools = [read.get(text, text) if isinstance(text, str) else text for text in self.tools or ()]
        self.messages = [[_read(message) for message in messages] for messages in self.messages]

    def _build_messages(self, example: dict[str, Any]) -> list[dict[str, Any]]:
        return [_read(message) for message in super()._build_messages(example)]


def _read(message: dict[str, Any]) -> dict[str, Any]:
    """Without keys that say nothing, and with arguments as objects."""
    kept = {key: value for key, value in message.items() if value is not None}
    if "tool_calls" in kept:
        kept["tool_calls"] = [_decoded(call) for call in kept["tool_calls"]]
    return kept


def _decoded(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = function["arguments"]
    return call | {
        "function": function | {"arguments": json.loads(arguments) if isinstance(arguments, str) else arguments}
    }
