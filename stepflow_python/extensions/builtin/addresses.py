"""Which hosts may be asked, decided by name first and then by the address that is connected to."""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from typing import Final

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotAllowedError(PermissionError):
    """The worker does not let tools ask this; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Hosts that may be asked, as `name`, `name:port` or `*.name`; `private` are those that may lie inside."""

    hosts: tuple[str, ...]
    private: tuple[str, ...]

    def check(self, scheme: str, host: str, port: int) -> None:
        """Whether a host may be asked at all.

        Raises:
            NotAllowedError: it is not listed.
        """
        if scheme not in DEFAULT_PORTS:
            raise NotAllowedError(f"{scheme or 'no scheme'}: only http and https may be asked")
        if not any(_matches(entry, scheme, host, port) for entry in (*self.hosts, *self.private)):
            listed = ", ".join(self.hosts) or "none"
            raise NotAllowedError(f"{host}:{port} is not among the hosts that tools may ask here: {listed}")

    async def address(self, scheme: str, host: str, port: int) -> str:
        """The address to connect to: what was checked is what is used, whatever the name means a moment later.

        Raises:
            NotAllowedError: the name leads to an address inside, and is not listed as private.
            OSError: there is no such name.
        """
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise OSError(f"{host} cannot be found: {error}") from error
        addresses = [str(entry[4][0]) for entry in found]
        if not any(_matches(entry, scheme, host, port) for entry in self.private):
            for address in addresses:
                if not is_public(address):
                    raise NotAllowedError(f"{host} leads to {address}, which is not a public address")
        return addresses[0]


def is_public(text: str) -> bool:
    """Whether an address is one of the internet at large, in whatever way it is written."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(one.is_global and not one.is_multicast and not one.is_reserved for one in _meanings(address))


def _meanings(address: Address) -> list[Address]:
    """An address, and the IPv4 one that it carries."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    carried: list[ipaddress.IPv4Address | None] = [address.ipv4_mapped, address.sixtofour]
    if address.teredo is not None:
        carried += address.teredo
    if address in NAT64:
        carried.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    inner: list[Address] = [one for one in carried if one is not None]
    # The mapped form is nothing but its IPv4 address; the others are addresses of their own as well.
    return inner if address.ipv4_mapped is not None or address in NAT64 else [address, *inner]


def _matches(entry: str, scheme: str, host: str, port: int) -> bool:
    name, _, listed = entry.rpartition(":") if entry.rpartition(":")[2].isdigit() else (entry, "", "")
    if (int(listed) if listed else DEFAULT_PORTS.get(scheme)) != port:
        return False
    name = name.lower().strip("[]")
    return host.endswith(name[1:]) and host != name[2:] if name.startswith("*.") else host == name
