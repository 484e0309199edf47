"""HTTP connections that go where the check says, end in time, and read no more than they are told.

One `Line` serves one request at a time. Everything it does runs through its network backend, which

- asks `AddressRules` where a host is at the moment of connecting, and connects to that IP address; TLS and the Host header
  keep the name, so certificates are checked as ever;
- shortens every wait of a request to what is left of its time, so a server that sends a byte now and then (in the head, in
  the body, between HTTP/2 frames) gains nothing by it;
- counts the bytes that come over the wire, head and framing included.

No proxy is used and none is taken from the environment: behind one, nobody here could say what is connected to.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpcore
import httpx

from datagen.clients.addresses import AddressRules
from datagen.errors import ConnectionLostError, FetchError, OverloadedError, ThrottledError

HEAD_BYTES = 1_000_000
"""Wire bytes beyond a body's limit: the head, TLS is not counted, and frames of HTTP/2."""
_KEPT_CONNECTIONS = 2
_KEPT_SECONDS = 20.0
_KEPT_LINES = 32
"""With their connections; 256 threads would otherwise come near the usual limit of 1,024 open files."""
_NO_SUCH_HOST = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
"""The name service says so. "Temporary failure" is what it says where it cannot be reached."""


class SlowError(ConnectionLostError):
    """The whole answer did not come within the time a request has."""


class TooMuchError(FetchError):
    """The server sends more than was asked for."""


@dataclass(slots=True)
class _Allowance:
    """What is left to the request in progress."""

    deadline: float
    wire_bytes: int

    def seconds(self, wanted: float | None) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the time of the request is used up")
        return left if wanted is None else min(left, wanted)

    def took(self, count: int) -> None:
        self.wire_bytes -= count
        if self.wire_bytes < 0:
            raise TooMuchError("the server sent more bytes than a page may have", "too_large")


class _Stream(httpcore.NetworkStream):
    """A connection whose reads and writes are charged to the allowance of its line."""

    def __init__(self, stream: httpcore.NetworkStream, backend: CheckedBackend) -> None:
        self._stream = stream
        self._backend = backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        allowance = self._backend.allowance
        data = self._stream.read(max_bytes, allowance.seconds(timeout))
        allowance.took(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._backend.allowance.seconds(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        seconds = self._backend.allowance.seconds(timeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, seconds), self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class CheckedBackend(httpcore.NetworkBackend):
    """Opens sockets to checked addresses only; there is no other way out of a line."""

    def __init__(self, rules: AddressRules | None) -> None:
        self._rules = rules
        self._plain = httpcore.SyncBackend()
        self.allowance = _Allowance(0.0, 0)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        fault: Exception = httpcore.ConnectError(f"{host} has no address")
        for address, number in self._places(host, port):
            try:
                stream = self._plain.connect_tcp(
                    address, number, self.allowance.seconds(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                fault = exc
            else:
                return _Stream(stream, self)
        raise fault

    def _places(self, host: str, port: int) -> list[tuple[str, int]]:
        if self._rules is None:
            return [(host, port)]
        try:
            endpoint = self._rules.endpoint(host.strip("[]"), port)
        except socket.gaierror as exc:
            if exc.errno in _NO_SUCH_HOST:
                raise FetchError(f"no host is called {host}", "dns") from exc
            raise httpcore.ConnectError(f"{host} was not found: {exc}") from exc
        except (OSError, UnicodeError) as exc:
            raise httpcore.ConnectError(f"{host} was not found: {exc}") from exc
        return [(address, endpoint.port) for address in endpoint.addresses]

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@cache
def _certificates() -> ssl.SSLContext:
    """One context for all lines: loading the certificates takes some 20 ms. SSL_CERT_FILE names others. Offers HTTP/2."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


class _Transport(httpx.BaseTransport):
    """httpx over a pool of checked connections."""

    def __init__(self, backend: CheckedBackend) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=_certificates(),
            max_connections=2 * _KEPT_CONNECTIONS,
            max_keepalive_connections=_KEPT_CONNECTIONS,
            keepalive_expiry=_KEPT_SECONDS,
            http1=True,
            http2=True,
            network_backend=backend,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.SyncByteStream)
        answer = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        assert isinstance(answer.stream, Iterable)
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    """The body as the pool gives it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._stream.close()


class Line:
    """A few kept connections for one request at a time. `rules` is None for a server that the config itself names."""

    def __init__(self, rules: AddressRules | None) -> None:
        self._backend = CheckedBackend(rules)
        self._client = httpx.Client(transport=_Transport(self._backend), trust_env=False, follow_redirects=False)

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        seconds: float,
        max_bytes: int,
        json: Any = None,
        params: Mapping[str, str] | None = None,
    ) -> Iterator[httpx.Response]:
        """The answer, its body still to be read with `iter_raw`. Faults of the connection become typed errors."""
        self._backend.allowance = _Allowance(time.monotonic() + seconds, max_bytes + HEAD_BYTES)
        timeout = httpx.Timeout(seconds)
        try:
            # httpx stores the cookies of an answer and would send them with the next request.
            self._client.cookies.clear()
            request = self._client.build_request(
                method, url, headers=dict(headers), json=json, params=params, timeout=timeout
            )
            answer = self._client.send(request, stream=True)
            try:
                yield answer
            finally:
                answer.close()
        except (httpcore.TimeoutException, httpx.TimeoutException) as exc:
            raise SlowError(f"no whole answer came within {seconds:g} seconds") from exc
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ConnectionNotAvailable, httpx.HTTPError) as exc:
            raise ConnectionLostError(_said(exc)) from exc
        except (ssl.SSLError, OSError) as exc:
            raise ConnectionLostError(_said(exc)) from exc
        except (httpx.InvalidURL, UnicodeError) as exc:
            raise FetchError(f"the address cannot be asked for: {exc}", "url") from exc

    def close(self) -> None:
        self._client.close()


def _said(fault: Exception) -> str:
    return f"the connection failed: {str(fault) or type(fault).__name__}"


class Lines:
    """As many lines as are used at once; the one used last goes out first, so its connections are still warm."""

    def __init__(self, rules: AddressRules | None) -> None:
        self._rules = rules
        self._free: list[Line] = []

    @contextmanager
    def one(self) -> Iterator[Line]:
        try:
            line = self._free.pop()
        except IndexError:
            line = Line(self._rules)
        try:
            yield line
        finally:
            if len(self._free) < _KEPT_LINES:
                self._free.append(line)
            else:
                line.close()

    def close(self) -> None:
        while self._free:
            self._free.pop().close()


def fault_of_status(status: int, headers: Mapping[str, str], who: str) -> Exception | None:
    """The fault of an answer that another try may mend; None for any other answer."""
    wait = retry_after(headers.get("retry-after"))
    if status == 429 or (status == 503 and wait is not None):
        return ThrottledError(f"{who} asks to wait (status {status})", wait)
    if status in {408, 425}:
        return ConnectionLostError(f"{who} did not get the request in time (status {status})")
    if status >= 500:
        return OverloadedError(f"{who} failed (status {status})")
    return None


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
