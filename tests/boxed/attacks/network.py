"""Reaches for the network, the host's own included."""

import os
import socket
import struct
from typing import Any

from trade import finds_nothing, readable, refused

World = dict[str, Any]

NO_WAY = ("ENETUNREACH", "EACCES", "EPERM", "EHOSTUNREACH", "ENETDOWN", "EADDRNOTAVAIL")


def _connect(address: tuple[str, int], family: int = socket.AF_INET) -> str:
    with socket.socket(family) as client:
        client.settimeout(2)
        client.connect(address)
        return f"connected to {address}"


@refused("ECONNREFUSED", "EACCES", "EPERM")
def connects_to_a_server_of_the_host(world: World) -> Any:
    return _connect(("127.0.0.1", world["port"]))


@refused("ECONNREFUSED", "EACCES", "EPERM")
def connects_to_a_server_of_the_host_by_another_name(world: World) -> Any:
    return _connect(("0.0.0.0", world["port"]))


@refused("ECONNREFUSED", *NO_WAY)
def connects_to_a_server_of_the_host_by_version_6(world: World) -> Any:
    return _connect(("::1", world["port"]), socket.AF_INET6)


@refused("ECONNREFUSED", *NO_WAY)
def connects_to_a_server_of_the_host_by_a_mapped_address(world: World) -> Any:
    return _connect(("::ffff:127.0.0.1", world["port"]), socket.AF_INET6)


@refused("ECONNREFUSED", "EACCES", "EPERM")
def connects_to_an_abstract_socket_of_the_host(world: World) -> Any:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + world["abstract"])
    return "connected"


@refused("ENOENT", "EACCES", "EPERM", "ECONNREFUSED")
def connects_to_a_socket_among_the_files_of_the_host(world: World) -> Any:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(world["socket"])
    return "connected"


@refused(*NO_WAY)
def connects_to_the_metadata_of_the_cloud(world: World) -> Any:
    return _connect(("169.254.169.254", 80))


@refused(*NO_WAY)
def connects_to_the_metadata_of_the_cloud_by_version_6(world: World) -> Any:
    return _connect(("fd00:ec2::254", 80), socket.AF_INET6)


@refused(*NO_WAY)
def connects_to_a_public_address(world: World) -> Any:
    return _connect(("1.1.1.1", 443))


@refused(*NO_WAY)
def connects_to_a_private_address(world: World) -> Any:
    return _connect(("10.0.0.1", 22))


@refused(*NO_WAY)
def sends_a_datagram_out(world: World) -> Any:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        return client.sendto(b"secret", ("8.8.8.8", 53))


@refused(*NO_WAY)
def sends_a_datagram_to_everybody(world: World) -> Any:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        return client.sendto(b"secret", ("255.255.255.255", 9))


@refused(*NO_WAY)
def sends_a_datagram_to_a_group(world: World) -> Any:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        return client.sendto(b"secret", ("224.0.0.251", 5353))


@refused(*NO_WAY)
def sends_a_datagram_along_the_link(world: World) -> Any:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        return client.sendto(b"secret", ("fe80::1", 53))


@refused("EAI")
def asks_for_a_name(world: World) -> Any:
    """A name that only a server could answer: it carries words out as well as any connection."""
    try:
        return socket.getaddrinfo("secret.example.com", 80)
    except socket.gaierror as error:
        raise OSError(f"EAI {error}") from error


@finds_nothing()
def sees_an_interface_of_the_host(world: World) -> Any:
    try:
        return [name for _, name in socket.if_nameindex() if name != "lo"]
    except PermissionError:
        return []


@finds_nothing(tiers="namespaces")
def sees_the_connections_of_the_host(world: World) -> Any:
    port = f":{world['port']:04X} "
    tables = [readable(f"/proc/net/{table}").decode() for table in ("tcp", "tcp6")]
    return [line for table in tables for line in table.splitlines() if port in line]


@finds_nothing(tiers="namespaces")
def sees_the_sockets_of_the_host(world: World) -> Any:
    return [line for line in readable("/proc/net/unix").splitlines() if world["abstract"].encode() in line]


def _netlink(kind: int, body: bytes) -> int:
    """Send a request of rtnetlink; the error in its answer."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.bind((0, 0))
        netlink.send(struct.pack("IHHII", 16 + len(body), kind, 5, 1, 0) + body)
        answer = netlink.recv(4096)
    error: int = struct.unpack_from("i", answer, 16)[0]
    if error:
        raise OSError(-error, os.strerror(-error))
    return error


@refused("EPERM", "EACCES")
def gives_itself_an_address(world: World) -> Any:
    """RTM_NEWADDR: 10.9.8.7/8 for loopback."""
    attribute = struct.pack("HH4s", 8, 2, bytes([10, 9, 8, 7]))
    return _netlink(20, struct.pack("BBBBi", 2, 8, 0, 0, 1) + attribute)


@refused("EPERM", "EACCES")
def gives_itself_a_route(world: World) -> Any:
    """RTM_NEWROUTE: everything by loopback."""
    return _netlink(24, struct.pack("BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + struct.pack("HHi", 8, 4, 1))


@refused("EPERM", "EACCES")
def adds_an_interface(world: World) -> Any:
    """RTM_NEWLINK: a dummy."""
    kind = struct.pack("HH5sxxx", 9, 1, b"dummy")
    return _netlink(16, struct.pack("BxHiII", 0, 0, 0, 0, 0) + struct.pack("HH", 4 + len(kind), 18) + kind)


def _open(family: int, kind: int, protocol: int = 0) -> str:
    with socket.socket(family, kind, protocol) as opened:
        return f"a socket: {opened}"


RARE = ("EPERM", "EACCES", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT")


@refused(*RARE)
def opens_a_raw_socket(world: World) -> Any:
    return _open(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


@refused(*RARE)
def listens_to_all_packets(world: World) -> Any:
    return _open(17, socket.SOCK_RAW, 0x0300)


@refused(*RARE)
def talks_to_the_hypervisor(world: World) -> Any:
    return _open(40, socket.SOCK_STREAM)


@refused(*RARE)
def talks_to_the_ciphers_of_the_kernel(world: World) -> Any:
    return _open(38, socket.SOCK_SEQPACKET)


@refused(*RARE)
def talks_to_the_audit_of_the_kernel(world: World) -> Any:
    return _open(16, socket.SOCK_RAW, 9)


@refused(*RARE)
def talks_to_the_packet_filter_of_the_kernel(world: World) -> Any:
    return _open(16, socket.SOCK_RAW, 12)


@refused(*RARE)
def talks_to_the_key_management_of_the_kernel(world: World) -> Any:
    return _open(15, socket.SOCK_RAW, 2)


@refused(*RARE)
def opens_sockets_of_rare_protocols(world: World) -> Any:
    """TIPC, RDS, SMC, VSOCK, QIPCRTR, CAN, Bluetooth, NFC, PPP, LLC and so on: not one opens."""
    opened = []
    for family in range(3, 46):
        if family not in {socket.AF_INET6, socket.AF_NETLINK}:
            for kind in (1, 2, 3, 5):
                try:
                    opened.append(_open(family, kind))
                except OSError as error:
                    refusal = error
    if not opened:
        raise refusal
    return opened


@refused(*RARE)
def opens_a_stream_of_a_rare_protocol_over_the_internet(world: World) -> Any:
    return _open(socket.AF_INET, socket.SOCK_STREAM, 132) + _open(socket.AF_INET, socket.SOCK_STREAM, 262)
