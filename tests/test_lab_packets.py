"""What the lab's censors read and write: any bytes, and never more than they should."""

import random
import ssl
import struct

import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.lab import packets, triggers
from monitor.lab.border import Border
from monitor.lab.packets import ACK, PSH, RST, SYN, Packet
from monitor.lab.policy import ANYWHERE, ANYWHERE6, Policy

CLIENT, SERVER = b"\xc8\x01\x02\x03", b"\x17\x2d\x43\x59"
CLIENT6, SERVER6 = b"\x2a\x02" + b"\x01" * 14, b"\x2a\x03" + b"\x02" * 14


def client_hello(name: str) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    handshake = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        handshake.do_handshake()
    return outgoing.read()


def parsed(raw: bytes) -> Packet:
    packet = Packet.parse(raw)
    assert packet is not None
    return packet


def checksum_holds(raw: bytes) -> bool:
    """The sum over the pseudo-header and everything after the IP header, checksum included, is all ones."""
    packet = parsed(raw)
    data = packet.src + packet.dst + struct.pack("!HH", packet.protocol, len(raw) - packet.start) + raw[packet.start :]
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


HELLO = client_hello("www.example.org")


class Sent:
    """A border and what its censors sent."""

    def __init__(self, *policies: Policy) -> None:
        self.to_client: list[bytes] = []
        self.to_server: list[bytes] = []
        self.border = Border(self.to_client.append, self.to_server.append)
        for number, policy in enumerate(policies):
            self.border.put(number, policy)


@given(payload=st.binary(max_size=1500), port=st.integers(1, 65535), seq=st.integers(0, 2**32 - 1))
def test_a_packet_made_is_read_back(payload: bytes, port: int, seq: int) -> None:
    for src, dst in ((CLIENT, SERVER), (CLIENT6, SERVER6)):
        segment = parsed(packets.tcp(src, dst, port, 443, seq, 7, PSH | ACK, payload))
        assert (segment.src, segment.dst, segment.sport, segment.dport) == (src, dst, port, 443)
        assert (segment.seq, segment.ack, segment.payload) == (seq, 7, payload)
        assert checksum_holds(segment.raw)
        datagram = parsed(packets.udp(src, dst, port, 53, payload))
        assert datagram.payload == payload
        assert checksum_holds(datagram.raw)
        moved = packets.readdressed(segment, dst=src)
        assert parsed(moved).dst == src
        assert checksum_holds(moved)


@given(st.binary(max_size=200))
def test_no_bytes_on_the_wire_raise(raw: bytes) -> None:
    sent = Sent(
        Policy(technique="dns-injection", names=("example.org",), answers=("23.1.1.1",)),
        Policy(technique="tls-reset", names=("example.org",)),
    )
    for head in (b"\x45", b"\x60"):
        sent.border.see(head + raw, True, 0.0)


@given(st.binary(max_size=600))
def test_no_bytes_in_a_stream_raise(stream: bytes) -> None:
    for reader, start in ((triggers.server_name, HELLO[:80]), (triggers.host, b"GET / HTTP/1.1\r\nHo")):
        for bytes_seen in (stream, start + stream):
            try:
                name = reader(bytes_seen)
            except triggers.Incomplete:
                continue
            assert name is None or isinstance(name, str)
    triggers.question(stream)
    triggers.dns_answer(stream, "NXDOMAIN", ())


def test_names_are_found_however_the_stream_is_cut() -> None:
    streams = {
        triggers.server_name: client_hello("www.example.org"),
        triggers.host: b"GET / HTTP/1.1\r\nAccept: */*\r\nHost: WWW.example.org:80\r\n\r\n",
    }
    for reader, stream in streams.items():
        for cut in range(len(stream)):
            try:
                assert reader(stream[:cut]) == "www.example.org"
            except triggers.Incomplete:
                continue
        assert reader(stream) == "www.example.org"


def test_a_forged_dns_answer_is_one_that_a_library_reads() -> None:
    query = dns.message.make_query("www.example.org", "AAAA")
    denial = triggers.dns_answer(query.to_wire(), "NXDOMAIN", ())
    answer = triggers.dns_answer(query.to_wire(), "NOERROR", ("23.1.1.1", "2a02::1"))
    assert denial is not None
    assert answer is not None
    assert dns.message.from_wire(denial).rcode() == dns.rcode.NXDOMAIN
    read = dns.message.from_wire(answer)
    assert query.is_response(read)
    assert [item.to_text() for rrset in read.answer for item in rrset] == ["2a02::1"]


def test_a_reset_fits_the_connection_it_cuts() -> None:
    sent = Sent(Policy(technique="tls-reset", names=("www.example.org",)))
    hello = client_hello("www.example.org")
    sent.border.see(packets.tcp(CLIENT, SERVER, 5000, 443, 99, 0, SYN), True, 0.0)
    halves = (hello[:100], hello[100:])
    first = packets.tcp(CLIENT, SERVER, 5000, 443, 100, 700, PSH | ACK, halves[0])
    second = packets.tcp(CLIENT, SERVER, 5000, 443, 200, 700, PSH | ACK, halves[1])
    assert sent.border.see(first, True, 0.0)[0] == 0.0
    assert sent.border.see(second, True, 0.0)[0] is None
    (back,), (on,) = map(parsed, sent.to_client), map(parsed, sent.to_server)
    assert (back.src, back.seq, back.ack, back.flags & RST) == (SERVER, 700, 100 + len(hello), RST)
    assert (on.src, on.seq, on.flags & RST) == (CLIENT, 200, RST)


def test_addresses_may_be_spared() -> None:
    sent = Sent(Policy(technique="drop", addresses=(ANYWHERE,), spared=(packets.text(SERVER),)))
    assert sent.border.see(packets.udp(CLIENT, SERVER, 5000, 53, b"x"), True, 0.0)[0] == 0.0
    assert sent.border.see(packets.udp(CLIENT, b"\x17\x01\x01\x01", 5000, 53, b"x"), True, 0.0)[0] is None


def test_one_family_may_be_cut() -> None:
    sent = Sent(Policy(technique="drop", addresses=(ANYWHERE6,)))
    assert sent.border.see(packets.tcp(CLIENT, SERVER, 5000, 443, 1, 0, SYN), True, 0.0)[0] == 0.0
    assert sent.border.see(packets.tcp(CLIENT6, SERVER6, 5000, 443, 1, 0, SYN), True, 0.0)[0] is None


def test_a_censor_that_is_lifted_lets_go_of_its_connections() -> None:
    sent = Sent(Policy(technique="drop", addresses=(ANYWHERE,)))
    opening = packets.tcp(CLIENT, SERVER, 5000, 443, 1, 0, SYN)
    assert sent.border.see(opening, True, 0.0)[0] is None
    sent.border.lift(0)
    assert sent.border.see(opening, True, 0.0)[0] == 0.0


def test_what_waits_in_a_slow_place_is_not_counted_twice() -> None:
    sent = Sent(Policy(technique="http-throttle", names=("www.example.org",), rate=1000))
    sent.border.see(packets.tcp(CLIENT, SERVER, 5000, 80, 99, 0, SYN), True, 0.0)
    request = packets.tcp(
        CLIENT, SERVER, 5000, 80, 100, 1, PSH | ACK, b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n"
    )
    assert sent.border.see(request, True, 0.0)[0] == 0.0
    data = packets.tcp(SERVER, CLIENT, 80, 5000, 1, 140, PSH | ACK, random.Random(1).randbytes(960))
    assert sent.border.see(data, False, 0.0)[0] == pytest.approx(1.0)
    assert sent.border.see(data, False, 0.5)[0] is None
    later = packets.tcp(SERVER, CLIENT, 80, 5000, 961, 140, PSH | ACK, random.Random(1).randbytes(960))
    assert sent.border.see(later, False, 0.5)[0] == pytest.approx(1.5)
