"""Vantages open their sockets where they should, and know whose resolver is whose."""

import os
import socket
import subprocess
import sys

import pytest

from monitor.addresses import is_public
from monitor.models import Network, Role
from monitor.vantage import Resolver, Vantage, resolver, sockaddr, system_resolvers


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "200.44.32.12", "1.1.1.1", "100.63.255.255", "172.32.0.1", "223.255.255.255",
        "2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4003::200e",
        "64:ff9b::8.8.8.8", "2002:0808:0808::1", "::ffff:8.8.8.8",
    ],
)  # fmt: skip
def test_an_address_of_the_public_internet_is_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.10.34.35", "100.64.0.1", "127.0.0.1", "127.8.8.8", "169.254.169.254", "172.16.0.1",
        "192.0.0.8", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1",
        "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.88.99.1",
        "::", "::1", "::127.0.0.1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1",
        "2001:db8::1", "3fff::1", "100::1", "5f00::1", "4000::1", "2001:2::1", "2001:10::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8",
        "2002:7f00:0001::1", "2002:c0a8:0101::1", "2001:0:7f00:1::1",
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",  # Teredo, of 10.0.0.1
        "localhost", "", "8.8.8", "0x08080808", "08.8.8.8", "8.8.8.8 ", "8.8.8.8/32", "[::1]",
    ],
)  # fmt: skip
def test_a_bogon_and_what_is_no_address_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("200.44.32.12", Role.ISP),
        ("100.64.0.53", Role.ISP),
        ("2800:a00::53", Role.ISP),
        ("192.168.1.1", Role.LAN),
        ("10.0.0.138", Role.LAN),
        ("127.0.0.53", Role.LAN),
        ("fe80::1%eth0", Role.LAN),
        ("fd00::53", Role.LAN),
        ("8.8.8.8", Role.PUBLIC),
        ("9.9.9.9:9953", Role.PUBLIC),
        ("[2620:fe::fe]:53", Role.PUBLIC),
    ],
)
def test_a_resolvers_role_is_told_by_its_address(text, role):
    assert resolver(text).role is role


def test_a_resolver_is_labelled_with_its_port_only_where_that_is_unusual():
    assert resolver("200.44.32.12").label == "200.44.32.12"
    assert resolver("200.44.32.12:53").label == "200.44.32.12"
    assert resolver("200.44.32.12:5353").label == "200.44.32.12:5353"
    assert resolver("2800::53").label == "2800::53"
    assert resolver("[2800::53]:5353").label == "[2800::53]:5353"


@pytest.mark.parametrize("text", ["", "dns.example", "1.2.3", "1.2.3.4:0", "1.2.3.4:x", "1.2.3.4:99999", "[::1", "::g"])
def test_what_is_no_resolver_is_refused(text):
    with pytest.raises(ValueError, match=r".*"):
        resolver(text)


def test_a_resolver_can_be_given_its_role():
    assert resolver("198.51.100.1", role=Role.PUBLIC).role is Role.PUBLIC


def test_system_resolvers_come_in_the_systems_order_and_at_most_three(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# nameserver 9.9.9.9\nsearch lan\nnameserver 192.168.1.1\n nameserver\t200.44.32.12 # ISP\nnameserver nonsense\n"
        "nameserver 200.44.32.12\nnameserver\nnameserver fe80::1%eth0\nnameserver 8.8.8.8\n"
    )
    assert [(known.address, known.role) for known in system_resolvers(path)] == [
        ("192.168.1.1", Role.LAN),
        ("200.44.32.12", Role.ISP),
        ("fe80::1%eth0", Role.LAN),
    ]


def test_behind_systemds_stub_stand_the_networks_own_resolvers(tmp_path):
    path, uplink = tmp_path / "resolv.conf", tmp_path / "uplink"
    path.write_text("nameserver 127.0.0.53\noptions edns0\n")
    assert [known.address for known in system_resolvers(path, uplink=uplink)] == ["127.0.0.53"]
    uplink.write_text("nameserver 200.44.32.12\n")
    assert system_resolvers(path, uplink=uplink) == (Resolver(address="200.44.32.12", role=Role.ISP),)


def test_without_resolv_conf_there_are_no_system_resolvers(tmp_path):
    assert system_resolvers(tmp_path / "absent") == ()


def test_sockets_are_non_blocking_and_of_the_family_and_kind_asked_for():
    here = Vantage("here", Network(), ())
    with here.open_socket(4, socket.SOCK_STREAM) as opened:
        assert (opened.family, opened.type, opened.getblocking()) == (socket.AF_INET, socket.SOCK_STREAM, False)
    with here.open_socket(6, socket.SOCK_DGRAM) as opened:
        assert (opened.family, opened.type) == (socket.AF_INET6, socket.SOCK_DGRAM)


def test_a_source_address_is_bound_and_the_other_family_refused():
    here = Vantage("here", Network(), (), source="127.0.0.2")
    with here.open_socket(4, socket.SOCK_DGRAM) as opened:
        assert opened.getsockname()[0] == "127.0.0.2"
    with pytest.raises(OSError, match="other family"):
        here.open_socket(6, socket.SOCK_DGRAM)


def test_an_address_that_this_machine_has_not_is_an_error_that_leaks_nothing():
    with pytest.raises(OSError, match=r"assign"):
        Vantage("here", Network(), (), source="192.0.2.1").open_socket(4, socket.SOCK_STREAM)


def test_an_interface_is_bound():
    here = Vantage("here", Network(), (), interface="lo")
    with here.open_socket(4, socket.SOCK_DGRAM) as opened:
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"
    with pytest.raises(OSError, match=r"device"):
        Vantage("here", Network(), (), interface="absent0").open_socket(4, socket.SOCK_DGRAM)


def test_a_network_namespace_that_does_not_exist_is_an_error():
    with pytest.raises(FileNotFoundError):
        Vantage("there", Network(), (), netns="almenara-test-absent")


def test_a_zone_becomes_the_index_of_its_interface():
    index = socket.if_nametoindex("lo")
    assert sockaddr("fe80::1%lo", 53) == ("fe80::1", 53, 0, index)
    assert sockaddr("fe80::1%7", 53) == ("fe80::1", 53, 0, 7)
    assert sockaddr("192.0.2.1", 53) == ("192.0.2.1", 53)


_SLEEPER = (
    "import ctypes, sys; sys.exit(print(ctypes.CDLL(None).unshare(0x40000000), flush=True) or sys.stdin.read() and 1)"
)


@pytest.mark.root
def test_sockets_open_in_the_network_namespace_and_this_thread_stays_home():
    home = os.readlink("/proc/thread-self/ns/net")
    with subprocess.Popen([sys.executable, "-c", _SLEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sleeper:
        assert sleeper.stdout is not None
        if sleeper.stdout.readline().strip() != b"0":
            pytest.skip("cannot make a network namespace here")
        there = Vantage("there", Network(), (), netns=f"/proc/{sleeper.pid}/ns/net")
        with there.open_socket(4, socket.SOCK_DGRAM) as opened:
            # Its loopback is down: nothing is reachable there.
            with pytest.raises(OSError, match="unreachable"):
                opened.connect(("127.0.0.1", 9))
            assert opened.getblocking() is False
        assert os.readlink("/proc/thread-self/ns/net") == home
        with pytest.raises(KeyError):
            there.open_socket(5, socket.SOCK_DGRAM)
        assert os.readlink("/proc/thread-self/ns/net") == home
        sleeper.stdin.close()
