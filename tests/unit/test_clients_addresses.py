"""What may be connected to: notations, resolved addresses, and the socket itself."""

from __future__ import annotations

import ipaddress
import socket
import ssl

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.clients.addresses import AddressRules, is_public, parse_target
from datagen.clients.connecting import Line
from datagen.clients.outage import FAILURES, Outage
from datagen.errors import ConfigError, ConnectionLostError, EndpointDownError, FetchError

REFUSED_ADDRESSES = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.19.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.251",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1111%1",
    "fec0::1",
    "ff02::1",
    "nonsense",
    "",
]


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_an_address_outside_the_public_internet_is_refused(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001::200e"])
def test_a_public_address_is_accepted(address):
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_is_accepted_that_the_standard_library_calls_private(address):
    if is_public(str(address)):
        assert address.is_global
        assert not any((address.is_multicast, address.is_reserved, address.is_loopback, address.is_link_local))


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_is_accepted_in_the_clothes_of_ipv6(address):
    number = int(address)
    for inside in (number, (0xFFFF << 32) | number, (0x64FF9B << 96) | number, (0x2002 << 112) | (number << 80)):
        assert not is_public(str(ipaddress.IPv6Address(inside)))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://files.example/x", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://a.example/", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("//a.example/x", "scheme"),
        ("a.example/x", "scheme"),
        ("", "scheme"),
        ("http://user:word@a.example/", "userinfo"),
        ("http://a.example@10.0.0.1/", "userinfo"),
        ("http://@a.example/", "userinfo"),
        ("http://2130706433/", "host"),
        ("http://0x7f000001/", "host"),
        ("http://0x7f.0.0.1/", "host"),
        ("http://0177.0.0.1/", "host"),
        ("http://127.1/", "host"),
        ("http://127.0.1/", "host"),
        ("http://1.2.3.4.5/", "host"),
        ("http://256.1.1.1/", "host"),
        ("http://a.example.7/", "host"),
        ("http:///x", "host"),
        ("http://./", "host"),
        ("http://a..example/", "host"),
        ("http://-a.example/", "host"),
        ("http://a_b!.example/", "host"),
        ("http://%31%32%37.0.0.1/", "host"),
        ("http://[fe80::1%25eth0]/", "host"),
        ("http://[::1", "url"),
        ("http://a.example\\@b.example/", "url"),
        ("http://a.example/\x00", "url"),
        ("http://a.example/\r\nHost: b.example", "url"),
        ("http://a.example:99999/", "url"),
        ("http://a.example:0/", "port"),
        ("http://a.example/" + "x" * 3_000, "url"),
    ],
)
def test_an_odd_notation_is_refused(url, reason):
    with pytest.raises(FetchError) as caught:
        parse_target(url)

    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("HTTPS://A.Example:443/x#top", "https://a.example/x"),
        ("http://a.example.", "http://a.example/"),
        ("http://a.example:80/?q=1 2", "http://a.example/?q=1%202"),
        ("https://bücher.example/ä", "https://xn--bcher-kva.example/ä"),
        ("http://127.0.0.1./", "http://127.0.0.1/"),
        ("http://①②⑦.⓪.⓪.①/", "http://127.0.0.1/"),
        ("http://[::FFFF:7f00:1]/", "http://[::ffff:7f00:1]/"),
        ("http://a.example:8080/", "http://a.example:8080/"),
    ],
)
def test_a_plain_notation_has_one_form(url, plain):
    assert parse_target(url).url == plain
    assert parse_target(plain).url == plain


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://[::1]/", "http://①②⑦.⓪.⓪.①/", "http://10.1.2.3/"])
def test_a_private_address_in_the_url_is_refused_before_a_socket_is_opened(url):
    target = parse_target(url)

    with pytest.raises(FetchError) as caught:
        AddressRules().endpoint(target.host, target.port)

    assert caught.value.reason == "address"


def test_one_private_answer_of_the_name_service_refuses_the_host():
    rules = AddressRules(resolver=lambda host, port: ["93.184.215.14", "10.0.0.7"])

    with pytest.raises(FetchError) as caught:
        rules.endpoint("www.example", 80)

    assert caught.value.reason == "address"


def test_localhost_is_refused_by_what_it_resolves_to():
    with pytest.raises(FetchError) as caught:
        AddressRules().endpoint("localhost", 80)

    assert caught.value.reason == "address"


def test_a_named_host_may_be_private_at_its_port_only():
    rules = AddressRules(allow_hosts=("127.0.0.1:8080", "box.internal"), resolver=lambda host, port: ["192.168.0.9"])

    assert rules.endpoint("127.0.0.1", 8080).addresses == ("127.0.0.1",)
    assert rules.endpoint("box.internal", 81).addresses == ("192.168.0.9",)
    with pytest.raises(FetchError):
        rules.endpoint("127.0.0.1", 8081)
    with pytest.raises(FetchError):
        rules.endpoint("sub.box.internal", 80)


def test_only_the_ports_of_the_web_are_fetched_from_unless_allowed():
    rules = AddressRules(allow_hosts=("a.example:8080",), resolve={".test": "127.0.0.1:9"})

    rules.check_port(parse_target("http://a.example:8080/"))
    rules.check_port(parse_target("http://b.test:7000/"))
    for url in ("http://a.example:22/", "http://b.example:8080/", "http://nottest:6379/"):
        with pytest.raises(FetchError) as caught:
            rules.check_port(parse_target(url))
        assert caught.value.reason == "port"


def test_a_test_web_answers_for_a_host_or_for_all_below_a_suffix():
    rules = AddressRules(resolve={".example": "127.0.0.1:9000", "www.example": "127.0.0.1:9001"})

    assert rules.stand_in("www.example") == "127.0.0.1:9001"
    assert rules.stand_in("a.b.example") == "127.0.0.1:9000"
    assert rules.stand_in("example") is None
    assert rules.stand_in("example.com") is None
    assert rules.endpoint("a.b.example", 443).port == 9000


class RecordingBackend(httpcore.MockBackend):
    """httpcore's own stand-in for a network, which says where it was asked to connect and for which name."""

    def __init__(self, reply: bytes) -> None:
        super().__init__([reply])
        self.connected: list[tuple[str, int]] = []
        self.names: list[str | None] = []

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.connected.append((host, port))
        return RecordingStream(super().connect_tcp(host, port), self.names)


class RecordingStream(httpcore.NetworkStream):
    def __init__(self, stream, names) -> None:
        self.stream, self.names = stream, names
        self.sent = b""

    def read(self, max_bytes, timeout=None):
        return self.stream.read(max_bytes, timeout)

    def write(self, buffer, timeout=None):
        self.names.append(buffer.decode())

    def close(self):
        self.stream.close()

    def start_tls(self, ssl_context: ssl.SSLContext, server_hostname=None, timeout=None):
        self.names.append(server_hostname)
        return self

    def get_extra_info(self, info):
        return None


def test_the_connection_goes_to_the_address_that_was_checked_and_keeps_the_name():
    answers = iter([["93.184.215.14"], ["127.0.0.1"], ["127.0.0.1"]])
    line = Line(AddressRules(resolver=lambda host, port: next(answers)))
    network = RecordingBackend(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    line._backend._plain = network

    with line.request("GET", "https://rebind.example/", headers={}, seconds=5, max_bytes=100) as answer:
        assert answer.read() == b"ok"

    assert network.connected == [("93.184.215.14", 443)]
    assert network.names[0] == "rebind.example"
    assert "Host: rebind.example\r\n" in network.names[1]

    # The next connection asks again, and what it hears is checked again.
    with (
        pytest.raises(FetchError) as caught,
        line.request("GET", "https://rebind.example/", headers={}, seconds=5, max_bytes=100),
    ):
        pass
    assert caught.value.reason == "address"
    assert network.connected == [("93.184.215.14", 443)]


@pytest.mark.parametrize(("code", "fault"), [(socket.EAI_NONAME, FetchError), (socket.EAI_AGAIN, ConnectionLostError)])
def test_a_name_that_does_not_exist_is_refused_and_one_that_cannot_be_asked_for_is_a_lost_connection(code, fault):
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(code, "no")

    line = Line(AddressRules(resolver=unknown))

    with pytest.raises(fault), line.request("GET", "http://nowhere.example/", headers={}, seconds=5, max_bytes=100):
        pass


def test_a_stand_in_has_to_be_host_and_port():
    with pytest.raises(ConfigError, match="host:port"):
        AddressRules.of((), {".example": "127.0.0.1"})

    rules = AddressRules.of(("Box.Internal",), {".Example": "127.0.0.1:8000"})
    assert rules.allows("box.internal", 1)
    assert rules.stand_in("a.example") == "127.0.0.1:8000"


def test_an_outage_is_many_hosts_in_a_row_and_nothing_between():
    outage = Outage()
    for number in range(200):
        outage.note("one.example", "connection")
        outage.note(f"{number}.example", "dns")
    outage.note("two.example", None)
    for number in range(FAILURES - 1):
        outage.note(f"{number}.example", "timeout")

    with pytest.raises(EndpointDownError, match="look after the network"):
        outage.note("last.example", "connection")


URL_PARTS = st.sampled_from(
    ["http://", "https://", "//", "a.example", "127.1", "[::1]", "①", "ß", "%2e", "@", ":80", ":", "/", "?", "#", "\\", " ", ".", "é.example", "xn--a"]
)  # fmt: skip


@given(st.lists(st.one_of(URL_PARTS, st.text(max_size=6)), max_size=10).map("".join))
def test_any_text_is_an_address_in_one_form_or_refused(text):
    try:
        target = parse_target(text)
    except FetchError:
        return
    assert parse_target(target.url) == target
    assert target.host == target.host.lower()
    assert target.host.isascii()
    assert "@" not in target.netloc


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_is_accepted_that_the_standard_library_calls_private(address):
    assert address.is_global or not is_public(str(address))
