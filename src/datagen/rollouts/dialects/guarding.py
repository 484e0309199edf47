r"""Words that would pass for marks of a dialect or of a chat template, made harmless, and back to what they were.

    see <tool_call>      becomes  see <\tool_call>        a backslash behind the bracket: no mark any more
    see <\tool_call>     becomes  see <\\tool_call>       one more, so that the way back is exact
    unguard(guard(text)) == text

What a page says and what a model thinks is data. Where it holds `</think>`, `<|im_end|>` or `[TOOL_CALLS]`, a parser or a
tokenizer would take it for the real thing, and words of a page would become calls or answers. All dialects guard the marks
of all of them, so a log rendered in one and trained under the template of another opens nothing there either. Inside JSON
the escapes of JSON do the same: readers of the JSON see no difference.
"""

from __future__ import annotations

import re

import orjson

TAGS = (
    *("think", "tool_call", "tool_calls", "tool_response", "tool_result", "tools", "function", "parameter"),
    *("search", "information", "snippet", "next_query", "answer", "result", "results"),
    *("s", "pad", "unk", "bos", "eos", "start_of_turn", "end_of_turn", "begin_of_text", "end_of_text"),
)
_WORDS = (
    "INST",
    "TOOL_CALLS",
    "TOOL_RESULTS",
    "TOOL_CONTENT",
    "AVAILABLE_TOOLS",
    "SYSTEM_PROMPT",
    "ARGS",
    "CALL_ID",
    "THINK",
)
_NAME = rf"(?:/?(?:(?i:{'|'.join(TAGS)})(?![A-Za-z0-9_])|SYS>)|[|｜])"
_BRACKET = rf"/?(?:{'|'.join(_WORDS)})\]"
_ENDS_OF_WORDS = tuple(sorted({word[-1] + "]" for word in _WORDS}))
_MARK = re.compile(rf"<(?=\\*{_NAME})|\[(?=\\*{_BRACKET})")
_GUARDED = re.compile(rf"([<\[])\\(?=\\*(?:{_NAME}|{_BRACKET}))")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_JSON_ESCAPES = {"<": "\\u003c", "[": "\\u005b"}


def _harmless(text: str) -> bool:
    """Whether a look at single characters shows that no mark is in the text. Pages have many brackets and few of these."""
    return "<" not in text and not any(end in text for end in _ENDS_OF_WORDS)


def guard(text: str) -> str:
    """The text with nothing in it that opens or closes anything."""
    if _harmless(text):
        return text
    return _MARK.sub(lambda mark: mark.group() + "\\", text)


def unguard(text: str) -> str:
    """What `guard` was given."""
    if "<\\" not in text and "[\\" not in text:
        return text
    return _GUARDED.sub(r"\1", text)


def guard_json(text: str) -> str:
    """The same for JSON text, by escapes of JSON. Text that is no JSON is guarded as text."""
    if _harmless(text) or not _MARK.search(text):
        return text
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return guard(text)
    return _MARK.sub(lambda mark: _JSON_ESCAPES[mark.group()], text)


def whole(text: str) -> str:
    """Text that every tokenizer takes: NUL and lone halves of surrogate pairs become U+FFFD."""
    if text.isascii() and "\0" not in text:
        return text
    return _NO_TEXT.sub("\ufffd", text)
