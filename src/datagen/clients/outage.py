"""Tells hosts that are down from a network that is: one after the other cannot be reached, and none answers between.

Without this, a laptop that goes to sleep would turn every page of a run into one that cannot be visited.
"""

from __future__ import annotations

import threading

from datagen.errors import EndpointDownError

FAILURES = 20
HOSTS = 5
"""So many hosts have to have failed in a row: one that is down may be asked for twenty of its pages."""
_UNREACHED = frozenset({"connection", "timeout", "robots_unreachable"})


class Outage:
    """Counts over all threads of a process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._hosts: list[str] = []

    def note(self, host: str, refusal: str | None) -> None:
        """The outcome of asking a host. Raises `EndpointDownError` once it is plain that nothing can be reached."""
        with self._guard:
            if refusal not in _UNREACHED:
                if refusal != "dns":  # a name that does not exist says nothing about the network
                    self._hosts.clear()
                return
            self._hosts.append(host)
            if len(self._hosts) >= FAILURES and len(set(self._hosts)) >= HOSTS:
                raise EndpointDownError(
                    f"the last {len(self._hosts)} pages could not be reached, from {len(set(self._hosts))} hosts; look "
                    "after the network and run `datagen resume RUN`."
                )
