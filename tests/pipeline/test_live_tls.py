"""Fetching over TLS: names and certificates hold although the connection goes to a checked address; HTTP/2 is spoken."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager, suppress

import h2.config
import h2.connection
import h2.events
import pytest

from datagen.clients import connecting
from datagen.clients.cache import ReplyCache
from datagen.clients.fetch import Fetcher, FetchPolicy
from datagen.errors import FetchError

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with the openssl command"),
]

PAGE = b"<!DOCTYPE html><title>A page</title><p>Words of a page.</p>"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for tls.test that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tls.test"]
    command += ["-addext", "subjectAltName=DNS:tls.test", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def trusted(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    connecting._certificates.cache_clear()
    yield
    connecting._certificates.cache_clear()


class Seen:
    """What the server was told."""

    def __init__(self) -> None:
        self.port = 0
        self.names: list[str | None] = []
        self.protocols: list[str | None] = []
        self.authorities: list[str] = []


@contextmanager
def tls_server(certificate, *, protocols=("h2", "http/1.1")):
    seen = Seen()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, certificate))
    context.set_alpn_protocols(list(protocols))
    context.sni_callback = lambda _, name, __: seen.names.append(name)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen.port = listener.getsockname()[1]

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        def talk(connection: socket.socket) -> None:
            with suppress(OSError), context.wrap_socket(connection, server_side=True) as stream:
                protocol = stream.selected_alpn_protocol()
                seen.protocols.append(protocol)
                (speak_h2 if protocol == "h2" else speak_http1)(stream, seen)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield seen
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def speak_http1(stream: ssl.SSLSocket, seen: Seen) -> None:
    while request := stream.recv(65_536):
        head = request.decode().split("\r\n")
        seen.authorities += [line[6:] for line in head if line.lower().startswith("host: ")]
        body = b"" if "/robots.txt" in head[0] else PAGE
        status = b"200 OK" if body else b"404 Not Found"
        stream.sendall(
            b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
        )


def speak_h2(stream: ssl.SSLSocket, seen: Seen) -> None:
    talk = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    talk.initiate_connection()
    stream.sendall(talk.data_to_send())
    while data := stream.recv(65_536):
        for event in talk.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                headers = dict(event.headers)
                seen.authorities.append(headers[":authority"])
                missing = headers[":path"] == "/robots.txt"
                answer = [(":status", "404" if missing else "200"), ("content-type", "text/html")]
                talk.send_headers(event.stream_id, answer, end_stream=missing)
                if not missing:
                    talk.send_data(event.stream_id, PAGE, end_stream=True)
        stream.sendall(talk.data_to_send())


def fetcher(tmp_path, port: int, host: str = "tls.test") -> Fetcher:
    policy = FetchPolicy(
        seconds_per_host=0,
        timeout_seconds=10,
        attempts=1,
        allow_hosts=(f"{host}:{port}",),
        resolver=lambda host, port: ["127.0.0.1"],
    )
    return Fetcher(policy, ReplyCache(tmp_path, "fetch"))


@pytest.mark.parametrize("protocols", [("h2", "http/1.1"), ("http/1.1",)])
def test_a_page_comes_over_tls_under_its_own_name(certificate, trusted, tmp_path, protocols):
    with tls_server(certificate, protocols=protocols) as seen:
        page = fetcher(tmp_path, seen.port).fetch(f"https://tls.test:{seen.port}/a")

    assert page.body == PAGE
    assert set(seen.protocols) == {protocols[0]}
    assert set(seen.names) == {"tls.test"}
    assert set(seen.authorities) == {f"tls.test:{seen.port}"}


def test_a_certificate_for_another_name_ends_the_connection(certificate, trusted, tmp_path):
    with tls_server(certificate) as seen, pytest.raises(FetchError) as caught:
        fetcher(tmp_path, seen.port, "other.test").fetch(f"https://other.test:{seen.port}/a")

    assert caught.value.reason == "robots_unreachable"
    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)
    assert seen.authorities == []


def test_a_certificate_that_nobody_vouches_for_ends_the_connection(certificate, tmp_path):
    with tls_server(certificate) as seen, pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
        fetcher(tmp_path, seen.port).fetch(f"https://tls.test:{seen.port}/a")

    assert seen.authorities == []
