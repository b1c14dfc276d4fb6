"""Where webhooks may go. A deploy file writes their addresses, and the daemon's host may reach what its author may not: the
metadata service of a cloud, which hands out credentials, is the best known of these.

What counts is the address that a connection is really made to. It is looked at before a name is resolved, after that, and once
more by whoever makes the socket, so neither a name that changes its meaning (DNS rebinding) nor another way to write an address
gets around it. Redirects are not followed at all. Knows nothing of what is sent.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from adapters.settings import Address, Network, WebhookSettings

IpAddress: TypeAlias = IPv4Address | IPv6Address

_NEVER_MEANT: tuple[tuple[str, tuple[Network, ...]], ...] = (
    (
        "the metadata service of a cloud",
        tuple(
            map(
                ip_network,
                # AWS, Google, Azure and others; Amazon's over IPv6; Google's over IPv6; Alibaba; Azure's wire server; Oracle.
                ("169.254.169.254", "fd00:ec2::/32", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
            )
        ),
    ),
    ("a link-local address", tuple(map(ip_network, ("169.254.0.0/16", "fe80::/10")))),
    ("no address of a single host", tuple(map(ip_network, ("0.0.0.0/8", "::", "224.0.0.0/4", "ff00::/8", "255.255.255.255")))),
)
_METADATA = ip_address("169.254.169.254")
_METADATA_NAMES = frozenset(
    {"metadata.google.internal", "metadata.goog", "metadata", "instance-data", "instance-data.ec2.internal"}
)
_SIXTO4, _NAT64 = ip_network("2002::/16"), ip_network("64:ff9b::/96")


class DestinationForbidden(OSError):
    """The message is the rest of a sentence that begins with what was to be called."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EACCES, why)
        self.why = why


class Destinations:
    """The rules in force. `own`: where the daemon itself listens, which answers nobody's webhook."""

    def __init__(self, settings: WebhookSettings, own: Address | None) -> None:
        self._settings = settings
        self._own = own

    def replace(self, settings: WebhookSettings) -> None:
        """The settings were read again."""
        self._settings = settings

    def check_host(self, host: str, port: int) -> None:
        """Of an address as it is written: also where a proxy is to make the connection. Raises `DestinationForbidden`."""
        name = host.lower().removesuffix(".")
        if (address := _written_address(name)) is not None:
            self.check(address, port)
        elif name in _METADATA_NAMES and not _is_in(_METADATA, self._settings.allow):
            raise _forbidden("the name of a metadata service")

    def check(self, address: IpAddress, port: int) -> None:
        """Of the address that a connection is made to. Raises `DestinationForbidden`."""
        meant = _inner(address)
        if _is_in(meant, self._settings.allow):
            return
        if _is_in(meant, self._settings.deny):
            raise _forbidden("denied by the daemon's settings")
        for what, networks in _NEVER_MEANT:
            if _is_in(meant, networks):
                raise _forbidden(what)
        if self._own is not None and port == self._own.port and (meant.is_loopback or _is_of_this_host(meant)):
            raise _forbidden("where the daemon itself listens")


def open_session(destinations: Destinations, resolver: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """For calls to other systems, with no cookies from one call to the next. Which proxy is used, each call says."""
    checked = _Resolver(destinations, resolver or DefaultResolver())
    # Names are not kept: what was found a while ago was checked by the rules of a while ago.
    connector = aiohttp.TCPConnector(resolver=checked, socket_factory=_socket_factory(destinations), use_dns_cache=False)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


class _Resolver(AbstractResolver):
    """Finds out early and in one piece: a name that leads to one forbidden address is not called at any of its others."""

    def __init__(self, destinations: Destinations, inner: AbstractResolver) -> None:
        self._destinations = destinations
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for one in found:
            self._destinations.check(ip_address(one["host"].partition("%")[0]), port)
        return found

    async def close(self) -> None:
        await self._inner.close()


def _socket_factory(destinations: Destinations) -> Callable[[Any], socket.socket]:
    def make(info: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
        family, kind, protocol, _, address = info
        destinations.check(ip_address(str(address[0]).partition("%")[0]), int(address[1]))
        return socket.socket(family, kind, protocol)

    return make


def _written_address(host: str) -> IpAddress | None:
    """The address that a host is, also in the forms that whoever connects may still read: 2852039166, 0xa9fea9fe,
    169.254.43518, 0251.0376.0251.0376. None for a name."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        # It reads no further than to a blank, as some who connect do, too.
        return IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def _forbidden(what: str) -> DestinationForbidden:
    return DestinationForbidden(
        f"is {what}, which webhooks do not call; if it is meant, add its network to webhooks.allow in the daemon's settings"
    )


def _is_in(address: IpAddress, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _inner(address: IpAddress) -> IpAddress:
    """The IPv4 address inside of one of the ways to write it as an IPv6 address."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _SIXTO4 and address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_of_this_host(address: IpAddress) -> bool:
    """Whether packets for it stay here: then the system would send them from the very same address. Sends nothing."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return bool(ip_address(probe.getsockname()[0].partition("%")[0]) == address)
    except OSError:
        return False
