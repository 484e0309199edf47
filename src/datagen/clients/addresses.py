"""Which addresses may be asked for: what models and pages name is not to be trusted with the network we are in.

An address passes three checks. Its notation must be plain: http or https, a host name or a dotted IPv4 or bracketed IPv6
address, port 80 or 443, no user name. Numbers in other clothes (`0x7f.1`, `2130706433`, full-width digits) are refused
rather than understood. Then every IP address that its host resolves to must be a public one; a single private answer
refuses the host. And the connection is made to the very IP address that was checked (`connecting`), so that a name that
resolves differently a moment later gains nothing.

    parse_target("https://user@evil.example/")      FetchError("userinfo")
    parse_target("http://127.1/")                   FetchError("host")
    is_public("::ffff:10.0.0.1")                    False

`AddressRules.allow_hosts` lifts the second check for named hosts; `resolve` sends hosts to a test web.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

import idna

from datagen.errors import ConfigError, FetchError

MAX_URL_CHARS = 2_000
MAX_ADDRESSES_TRIED = 4
_PORTS = {"http": 80, "https": 443}
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")
_IPV4_REFUSED = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
"""Everything that IANA's special-purpose registry does not call globally reachable, multicast, and the old 6to4 relays."""
_IPV6_GLOBAL = ipaddress.IPv6Network("2000::/3")
_IPV6_REFUSED = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
"""Inside 2000::/3: protocol assignments with Teredo, documentation, 6to4. Loopback, mapped and translated IPv4
(::ffff:0:0/96, 64:ff9b::/96), unique local, link-local and multicast addresses all lie outside it."""

Resolver = Callable[[str, int], Sequence[str]]
"""IP addresses of a host name; the port is for resolvers that want it. Raises OSError."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not any(ip in network for network in _IPV4_REFUSED)
    if ip.scope_id is not None:
        return False
    return ip in _IPV6_GLOBAL and not any(ip in network for network in _IPV6_REFUSED)


@dataclass(frozen=True, slots=True)
class Target:
    """A checked notation: what is asked for, from whom. `host` is ASCII, in small letters, without brackets or final dot."""

    scheme: str
    host: str
    port: int
    path: str
    """Path and query; no fragment."""

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.netloc}"

    @property
    def url(self) -> str:
        return f"{self.origin}{self.path}"


def parse_target(url: str, base: str | None = None) -> Target:
    """Read an address; raises `FetchError` with reason url, scheme, userinfo, host or port."""
    url = url.strip().replace(" ", "%20")
    if len(url) > MAX_URL_CHARS:
        raise FetchError(f"an address of {len(url)} characters is too long to be one", "url")
    if _UNSAFE.search(url):
        raise FetchError("the address holds a backslash or a control character", "url")
    try:
        parts = urlsplit(urljoin(base, url) if base else url)
        port = parts.port
        userinfo, host = parts.username is not None or "@" in parts.netloc, parts.hostname or ""
    except ValueError as exc:
        raise FetchError(f"the address cannot be read: {exc}", "url") from exc
    if parts.scheme not in _PORTS:
        raise FetchError(
            f"only http and https are fetched, not {parts.scheme or 'an address without a scheme'}", "scheme"
        )
    if userinfo:
        raise FetchError("an address with a user name is not fetched", "userinfo")
    if port == 0:
        raise FetchError("port 0 is not a port", "port")
    path = parts.path or "/"
    return Target(
        parts.scheme, _plain_host(host), port or _PORTS[parts.scheme], path + (f"?{parts.query}" if parts.query else "")
    )


def _plain_host(host: str) -> str:
    """A host name in ASCII, or an IP address in its one plain notation."""
    refused = FetchError(f"{host[:100]!r} is no plain host name", "host")
    try:
        if ":" in host:
            return str(_without_zone(ipaddress.IPv6Address(host)))
        name = host.lower() if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except (ValueError, idna.IDNAError) as exc:
        raise refused from exc
    name = name.removesuffix(".").lower()
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        # What ends in a number is an IPv4 address to every client, in whatever notation.
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError as exc:
            raise refused from exc
    if not name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise refused
    return name


def _without_zone(address: ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    if address.scope_id is not None:
        raise ValueError("an address with a zone means nothing outside its network")
    return address


def system_resolver(host: str, port: int) -> Sequence[str]:
    """What the operating system says."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a connection goes: IP addresses in the order in which they are tried."""

    addresses: tuple[str, ...]
    port: int


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What may be connected to."""

    allow_hosts: tuple[str, ...] = ()
    """Host names (any port) or host:port that may be private."""
    resolve: Mapping[str, str] = field(default_factory=dict)
    """Host or ".suffix" -> host:port that answers for it, in plain HTTP."""
    resolver: Resolver = system_resolver

    @classmethod
    def of(
        cls, allow_hosts: Sequence[str], resolve: Mapping[str, str], resolver: Resolver = system_resolver
    ) -> AddressRules:
        """From a config; raises `ConfigError` for a stand-in that is no host:port."""
        for host, place in resolve.items():
            name, _, port = place.rpartition(":")
            if not name or not port.isdecimal() or not 0 < int(port) < 65_536:
                raise ConfigError(
                    f'web.live.resolve."{host}" is {place!r} and has to be host:port, as in "127.0.0.1:8000".'
                )
        allowed = tuple(host.lower() for host in allow_hosts)
        return cls(allowed, {host.lower(): place for host, place in resolve.items()}, resolver)

    def stand_in(self, host: str) -> str | None:
        """host:port that answers for a host of a test web; None for hosts of the internet."""
        if host in self.resolve:
            return self.resolve[host]
        suffixes = [suffix for suffix in self.resolve if suffix.startswith(".") and host.endswith(suffix)]
        return self.resolve[max(suffixes, key=len)] if suffixes else None

    def allows(self, host: str, port: int) -> bool:
        """Whether the config lifts the check of this host's addresses."""
        return host in self.allow_hosts or f"{host}:{port}" in self.allow_hosts

    def check_port(self, target: Target) -> None:
        standard = target.port in _PORTS.values()
        if not (standard or self.stand_in(target.host) or self.allows(target.host, target.port)):
            raise FetchError(f"port {target.port} is not fetched from; pages are on 80 and 443", "port")

    def endpoint(self, host: str, port: int) -> Endpoint:
        """Resolve a host and check every answer. Raises `FetchError` (address, host) or OSError from the resolver."""
        stand_in = self.stand_in(host)
        if stand_in is not None:
            name, _, number = stand_in.rpartition(":")
            return Endpoint(tuple(self._resolved(name.strip("[]"), int(number))), int(number))
        addresses = self._resolved(host, port)
        private = [address for address in addresses if not is_public(address)]
        if private and not self.allows(host, port):
            raise FetchError(f"{host} is not on the public internet", "address")
        return Endpoint(tuple(addresses[:MAX_ADDRESSES_TRIED]), port)

    def _resolved(self, host: str, port: int) -> Sequence[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        addresses = self.resolver(host, port)
        if not addresses:
            raise OSError(f"{host} has no address")
        return addresses
