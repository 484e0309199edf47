"""The transport under the openai SDK: one thread's connections, and a deadline for all of an attempt.

A socket timeout starts anew with every byte, so a server that sends one now and then, in the head or in the body, could
hold a slot for ever. Here every wait of the attempt, for a connection, for the head, for the next piece of the body, is
cut to what is left of its time. Looking up a host's name is the one thing that the system does not let us cut short.

The SDK stands on httpx2 and httpcore2, so this does too; pages of the web are fetched with httpx (`clients.connecting`).
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore2 as httpcore
import httpx2 as httpx

MOST_BYTES = 64 * 1024 * 1024
"""Of one reply on the wire. A long reply with its logprobs is some megabytes."""
_KEPT_CONNECTIONS = 2
_KEPT_SECONDS = 20.0


class TimedTransport(httpx.BaseTransport):
    """httpx over a pool whose waits end in time. For one thread."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._backend = _TimedBackend()
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=_KEPT_CONNECTIONS,
            max_keepalive_connections=_KEPT_CONNECTIONS,
            keepalive_expiry=_KEPT_SECONDS,
            network_backend=self._backend,
        )

    def begin(self, seconds: float) -> None:
        """An attempt starts now; whatever it waits for ends with it."""
        self._backend.deadline = time.monotonic() + seconds
        self._backend.bytes_left = MOST_BYTES

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.SyncByteStream)
        url = request.url
        with _faults_of(request):
            answer = self._pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream, request), extensions=answer.extensions
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    """The body as the pool gives it."""

    def __init__(self, stream: Any, request: httpx.Request) -> None:
        self._stream = stream
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        with _faults_of(self._request):
            yield from self._stream

    def close(self) -> None:
        self._stream.close()


@contextmanager
def _faults_of(request: httpx.Request) -> Iterator[None]:
    """The faults of the pool as those that the SDK knows."""
    try:
        yield
    except httpcore.TimeoutException as exc:
        raise httpx.ReadTimeout(str(exc), request=request) from None
    except (
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
        httpcore.ConnectionNotAvailable,
    ) as exc:
        raise httpx.NetworkError(f"{type(exc).__name__}: {exc}".rstrip(": "), request=request) from None


class _TimedBackend(httpcore.NetworkBackend):
    """Opens sockets whose every wait is cut to what is left of the attempt."""

    def __init__(self) -> None:
        self._plain = httpcore.SyncBackend()
        self.deadline = 0.0
        self.bytes_left = 0

    def seconds(self, wanted: float | None) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("no whole reply came in the time that an attempt has")
        return left if wanted is None else min(left, wanted)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._plain.connect_tcp(host, port, self.seconds(timeout), local_address, socket_options)
        return _TimedStream(stream, self)

    def sleep(self, seconds: float) -> None:
        time.sleep(self.seconds(seconds))


class _TimedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, backend: _TimedBackend) -> None:
        self._stream = stream
        self._backend = backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._stream.read(max_bytes, self._backend.seconds(timeout))
        self._backend.bytes_left -= len(data)
        if self._backend.bytes_left < 0:
            raise httpcore.ReadError(f"the reply is longer than {MOST_BYTES:,} bytes")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._backend.seconds(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        seconds = self._backend.seconds(timeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, seconds), self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
