"""Holds chat templates and masks to transformers: `python transformers_masks.py TEMPLATES`, prints one JSON object.

The same messages go through a tokenizer's own `apply_chat_template`; its text has to be ours. A byte-level tokenizer is
trained on the texts, and every token is looked at: trained, it holds nothing that the program wrote.
"""

import json
import random
import sys
from datetime import date
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from datagen.records.trajectory import Event
from datagen.rollouts.chat_template import ChatTemplate
from datagen.rollouts.dialects import DIALECTS
from datagen.rollouts.masks import token_mask

QUESTION = "Which club plays in the stadium that opened in 1901?"
VARIABLES = {"bos_token": "<s>", "eos_token": "</s>"}
WORDS = (
    "Harlan Rovers",
    "1901",
    "東京ヴェルディ",
    "Ωμέγα 😀",
    "e\u0301",
    "<|im_end|>",
    "[INST]",
    "</think>",
    "  ",
    "\n\n",
    "{",
)


def log(rng: random.Random) -> tuple[Event, ...]:
    def said() -> str:
        return " ".join(rng.choices(WORDS, k=6)).strip()

    events = []
    for turn in range(rng.randint(1, 4)):
        name = f"c{turn:08d}"
        call = json.dumps({"query": said()}, ensure_ascii=False, separators=(",", ":"))
        result = json.dumps({"results": [], "notice": said()}, ensure_ascii=False)
        events += [
            Event(turn, "thought", said()),
            Event(turn, "call", call_id=name, tool="search", arguments=call),
            Event(turn, "result", result, call_id=name, tool="search"),
        ]
    return (*events, Event(len(events), "answer", f"{said()} Rovers"))


def trained_on(texts: list[str]) -> PreTrainedTokenizerFast:
    bytewise = Tokenizer(models.BPE())
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bytewise.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=1_500, initial_alphabet=alphabet, show_progress=False)
    )
    return PreTrainedTokenizerFast(tokenizer_object=bytewise, bos_token="<s>", eos_token="</s>")


def misplaced(segments, offsets) -> tuple[int, int, int]:
    """(trained tokens with a character of the program, characters of the model that no token trains, straddling tokens)"""
    by_model = [segment.trained for segment in segments for _ in segment.text]
    masked = token_mask(segments, offsets)
    kept = {k for (a, b), bit in zip(offsets, masked.mask, strict=True) if bit for k in range(a, b)}
    over = {k for place in masked.straddling for k in range(*offsets[place])}
    lost = {k for k, own in enumerate(by_model) if own} - kept - over
    return sum(not by_model[k] for k in kept), len(lost), len(masked.straddling)


def main(folder: Path) -> None:
    rng = random.Random(7)
    logs = [log(rng) for _ in range(25)]
    rendered = [dialect.render(QUESTION, events) for events in logs for dialect in DIALECTS.values()]
    tokenizer = trained_on([one.text for one in rendered])
    calling = [DIALECTS["function_calling"].render(QUESTION, events) for events in logs]
    done = {"templates": {}, "masks": [0, 0, 0], "tokens": 0}
    pieces = [one.segments for one in rendered]
    for path in sorted(folder.glob("*.jinja")):
        source = path.read_text(encoding="utf-8").replace("strftime_now('%d %b %Y')", "'01 Mar 2026'")
        template = ChatTemplate(source, VARIABLES, arguments_as_text=path.stem == "bars", today=date(2026, 3, 1))
        same = 0
        for one in calling:
            messages = [template.shown(message) for message in one.messages]
            try:
                rows = template.rows(one.messages, one.tools)
                pieces += [row.segments for row in rows]
            except Exception as exc:  # noqa: BLE001 - reported
                done["templates"][path.stem] = str(exc)[:200]
                break
            theirs = tokenizer.apply_chat_template(
                messages, tools=list(one.tools), chat_template=source, tokenize=False, add_generation_prompt=False
            )
            same += theirs == template.text(one.messages, one.tools)
        done["templates"].setdefault(path.stem, same)
    for segments in pieces:
        text = "".join(segment.text for segment in segments)
        offsets = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
        done["tokens"] += len(offsets)
        done["masks"] = [a + b for a, b in zip(done["masks"], misplaced(segments, offsets), strict=True)]
    print(json.dumps(done))  # noqa: T201 - the reply


if __name__ == "__main__":
    main(Path(sys.argv[1]))
