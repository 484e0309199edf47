"""The section on the live web."""

from __future__ import annotations

from typing import Literal as OneOf

from pydantic import Field

from datagen.config.section import Section


class LiveConfig(Section):
    """The live web: a search service, and how pages are fetched. Everything seen is kept in the run directory."""

    service: OneOf["searxng", "serper", "brave", "tavily"] = "searxng"
    """searxng is self-hosted and needs no key."""
    base_url: str = ""
    """Address of the service; the public one of serper, brave and tavily where empty."""
    api_key_env: str = ""
    """Environment variable with the service's key."""
    requests_per_minute: float = Field(default=60, gt=0)
    """Fixed rate of searches."""
    allow_hosts: tuple[str, ...] = ()
    """Host names or host:port whose pages may lie at private addresses. The search service needs no entry."""
    resolve: dict[str, str] = {}
    """Host, or suffix such as ".example", -> host:port that answers for it: for test webs. Plain HTTP is spoken there."""
    seconds_per_host: float = Field(default=1.0, ge=0)
    """Pause between two requests to one host."""
    timeout_seconds: float = Field(default=30, gt=0)
    """How long one page may take in all."""
    max_bytes: int = Field(default=8_000_000, ge=1)
    """Size of one page after decompression, at most."""
    max_redirects: int = Field(default=5, ge=0)
    obey_robots: bool = True
    user_agent: str = "datagen"
    """Names this program to servers and in robots.txt; add an address where you can be reached."""
