"""Ways to write the log of an attempt as text, each both ways.

DIALECTS["function_calling"]     the tools as they are; `messages` for any chat template
DIALECTS["fathom"]               search_urls, query_url, a boxed answer
DIALECTS["infoseek"]             think, search, information, answer in one turn
DIALECTS["webexplorer"]          search with several queries, browse

`base` says what a dialect promises.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from datagen.rollouts.dialects.base import Dialect, Parsed, Rendered, Segment
from datagen.rollouts.dialects.fathom import Fathom
from datagen.rollouts.dialects.function_calling import FunctionCalling
from datagen.rollouts.dialects.infoseek import InfoSeek
from datagen.rollouts.dialects.messages import read_messages
from datagen.rollouts.dialects.summaries import ExtractiveRefiner, Refiner
from datagen.rollouts.dialects.webexplorer import WebExplorer

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {dialect.name: dialect for dialect in (FunctionCalling(), Fathom(), InfoSeek(), WebExplorer())}
)

__all__ = [
    "DIALECTS",
    "Dialect",
    "ExtractiveRefiner",
    "Fathom",
    "FunctionCalling",
    "InfoSeek",
    "Parsed",
    "Refiner",
    "Rendered",
    "Segment",
    "WebExplorer",
    "read_messages",
]
