"""Invariant: whatever a resolver sends, or not, asking it gives an observation."""

import asyncio
import base64
import contextlib
import socket

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import HERE, answer, dns_peer, now, tcp_peer, vantage

from monitor.models import Dns, Role
from monitor.steps import dns as step
from monitor.steps.dns_messages import Question, Unreadable
from monitor.vantage import Resolver

NAME = "www.lapatilla.example"
GENUINE = f"{NAME} 60 IN A 198.51.100.7"


def ask(reply, *, type="A", timeout_s=5.0, linger_s=0.0, **options) -> Dns:
    """What asking such a resolver gives, settled."""

    async def run() -> Dns:
        async with dns_peer(reply) as resolver:
            asked = await step.ask(
                vantage(), resolver, NAME, type, occasion=now(), timeout_s=timeout_s, linger_s=linger_s, **options
            )
            return await asked.settled()

    return asyncio.run(run())


def test_an_honest_answer():
    seen = ask(lambda query: [(0, answer(query, GENUINE, f"{NAME} 60 IN A 198.51.100.8").to_wire())])
    assert (seen.failure, seen.rcode, seen.answers) == (None, "NOERROR", ("198.51.100.7", "198.51.100.8"))
    assert (seen.transport, seen.role, seen.late) == ("udp", Role.ISP, ())
    assert seen.local_port
    assert dns.message.from_wire(base64.b64decode(seen.raw)).question[0].name.to_text() == NAME + "."
    assert 0 <= seen.duration < 5


def test_an_aaaa_answer():
    seen = ask(lambda query: [(0, answer(query, f"{NAME} 60 IN AAAA 2001:db8::7").to_wire())], type="AAAA")
    assert (seen.failure, seen.type, seen.answers) == (None, "AAAA", ("2001:db8::7",))


def test_only_the_questions_own_cname_chain_is_followed():
    records = (
        f"{NAME} 60 IN CNAME WWW.cdn.example.",
        "www.cdn.example 60 IN CNAME edge.cdn.example.",
        "edge.cdn.example 60 IN A 198.51.100.9",
        "neighbour.example 60 IN A 192.0.2.66",
    )
    seen = ask(lambda query: [(0, answer(query, *records).to_wire())])
    assert (seen.answers, seen.cnames) == (("198.51.100.9",), ("www.cdn.example", "edge.cdn.example"))


def test_a_cname_loop_ends():
    records = (f"{NAME} 60 IN CNAME b.example.", f"b.example 60 IN CNAME {NAME}.")
    seen = ask(lambda query: [(0, answer(query, *records).to_wire())])
    assert seen.failure == "dns_no_answer"
    assert len(seen.cnames) == 16


@pytest.mark.parametrize(
    ("rcode", "failure"),
    [
        (dns.rcode.NXDOMAIN, "dns_nxdomain_error"),
        (dns.rcode.SERVFAIL, "dns_servfail_error"),
        (dns.rcode.REFUSED, "dns_refused_error"),
        (dns.rcode.NOERROR, "dns_no_answer"),
        (dns.rcode.NOTAUTH, "dns_server_misbehaving"),
    ],
)
def test_codes_become_failures(rcode, failure):
    seen = ask(lambda query: [(0, answer(query, rcode=rcode).to_wire())])
    assert (seen.failure, seen.rcode) == (failure, dns.rcode.to_text(rcode))


def test_a_bogon_is_an_answer_and_no_failure():
    seen = ask(lambda query: [(0, answer(query, f"{NAME} 60 IN A 10.10.34.35").to_wire())])
    assert (seen.failure, seen.answers) == (None, ("10.10.34.35",))


def test_extended_errors_are_kept():
    def reply(query):
        response = answer(query, rcode=dns.rcode.SERVFAIL)
        response.use_edns(
            0, options=[dns.edns.EDEOption(dns.edns.EDECode.CENSORED, "por orden"), dns.edns.EDEOption(9)]
        )
        return [(0, response.to_wire())]

    assert ask(reply).errors == (16, 9)


def test_silence_is_a_timeout():
    seen = ask(lambda query: [], timeout_s=0.05)
    assert (seen.failure, seen.rcode, seen.raw) == ("generic_timeout_error", None, None)
    assert 0.05 <= seen.duration < 1


def test_garbage_alone_is_a_misbehaving_server():
    assert ask(lambda query: [(0, b"\x00garbage")], timeout_s=0.05).failure == "dns_server_misbehaving"


def test_garbage_before_the_answer_is_passed_over():
    seen = ask(lambda query: [(0, query.to_wire()[:7]), (0, b""), (0.01, answer(query, GENUINE).to_wire())])
    assert seen.answers == ("198.51.100.7",)


def test_answers_with_the_wrong_id_or_question_are_passed_over():
    def reply(query):
        wrong_id = answer(query, f"{NAME} 60 IN A 192.0.2.66")
        wrong_id.id ^= 1
        other = dns.message.make_query("other.example", "A", id=query.id)
        echo = query.to_wire()
        wires = [wrong_id.to_wire(), answer(other, "other.example 60 IN A 192.0.2.66").to_wire(), echo]
        return [*((0, wire) for wire in wires), (0.01, answer(query, GENUINE).to_wire())]

    assert ask(reply).answers == ("198.51.100.7",)


def test_only_answers_with_the_wrong_id_are_silence():
    def reply(query):
        wrong = answer(query, GENUINE)
        wrong.id ^= 1
        return [(0, wrong.to_wire())]

    assert ask(reply, timeout_s=0.05).failure == "generic_timeout_error"


def test_a_flood_of_wrong_answers_does_not_outlast_the_timeout():
    def reply(query):
        wrong = answer(query, GENUINE)
        wrong.id ^= 1
        return [(0, wrong.to_wire())] * 2000

    seen = ask(reply, timeout_s=0.1)
    assert seen.failure == "generic_timeout_error"
    assert seen.duration < 3


def test_a_second_different_answer_is_an_injection_to_be_judged():
    def reply(query):
        forged = answer(query, f"{NAME} 60 IN A 192.0.2.66").to_wire()
        genuine = answer(query, GENUINE).to_wire()
        return [(0, forged), (0.02, genuine), (0.03, genuine), (0.04, forged)]

    seen = ask(reply, linger_s=0.15)
    assert seen.answers == ("192.0.2.66",)
    assert [(late.rcode, late.answers) for late in seen.late] == [("NOERROR", ("198.51.100.7",))]
    assert 0 < seen.late[0].delay < 0.15


def test_a_forged_nxdomain_before_the_answer():
    def reply(query):
        return [(0, answer(query, rcode=dns.rcode.NXDOMAIN).to_wire()), (0.02, answer(query, GENUINE).to_wire())]

    seen = ask(reply, linger_s=0.1)
    assert seen.failure == "dns_nxdomain_error"
    assert [late.rcode for late in seen.late] == ["NOERROR"]


def test_the_same_answer_twice_is_not_late():
    def reply(query):
        one, two = answer(query, GENUINE), answer(query, GENUINE.replace("60", "59"))
        return [(0, one.to_wire()), (0.01, two.to_wire())]

    assert ask(reply, linger_s=0.05).late == ()


def test_the_first_answer_does_not_wait_for_the_late_ones():
    async def run() -> None:
        async with dns_peer(lambda query: [(0, answer(query, GENUINE).to_wire())]) as resolver:
            asked = await step.ask(vantage(), resolver, NAME, "A", occasion=now(), timeout_s=5, linger_s=30)
            assert asked.dns.answers
        # Whoever does not care for late answers leaves; the socket is closed with the loop.

    asyncio.run(asyncio.wait_for(run(), 5))


def test_a_port_where_nobody_listens_refuses():
    async def run() -> Dns:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind((HERE, 0))
            port = taken.getsockname()[1]
        nobody = Resolver(address=HERE, port=port, role=Role.LAN)
        return (await step.ask(vantage(), nobody, NAME, "A", occasion=now(), timeout_s=5)).dns

    assert asyncio.run(run()).failure == "connection_refused"


def test_checking_can_be_disabled():
    flags = []

    def reply(query):
        flags.append(query.flags)
        return [(0, answer(query, GENUINE).to_wire())]

    ask(reply)
    ask(reply, checking_disabled=True)
    assert [bool(seen & dns.flags.CD) for seen in flags] == [False, True]
    assert all(seen & dns.flags.RD for seen in flags)


def test_a_resolver_without_edns_is_asked_again_without():
    def reply(query):
        if query.edns >= 0:
            return [(0, answer(query, rcode=dns.rcode.FORMERR).to_wire())]
        return [(0, answer(query, GENUINE).to_wire())]

    assert ask(reply).answers == ("198.51.100.7",)


async def ask_truncated(over_tcp, *cut_records: str, timeout_s: float = 5) -> Dns:
    """A resolver whose UDP answer is cut, with another behaviour over TCP."""

    def cut(query):
        response = answer(query, *cut_records)
        response.flags |= dns.flags.TC
        return [(0, response.to_wire())]

    async with tcp_peer(over_tcp) as port, dns_peer(cut, port=port) as resolver:
        asked = await step.ask(vantage(), resolver, NAME, "A", occasion=now(), timeout_s=timeout_s, linger_s=0.02)
        return await asked.settled()


async def _whole_answer(conn) -> None:
    wire = await conn.read()
    whole = answer(dns.message.from_wire(wire[2:]), GENUINE).to_wire()
    for byte in len(whole).to_bytes(2) + whole:
        await conn.write(bytes([byte]))
    await conn.read()


def test_a_truncated_answer_is_fetched_over_tcp():
    seen = asyncio.run(ask_truncated(_whole_answer))
    assert (seen.failure, seen.transport, seen.answers, seen.late) == (None, "tcp", ("198.51.100.7",), ())


async def _reset(conn) -> None:
    await conn.read()
    conn.reset()


async def _fin(conn) -> None:
    await conn.read()


async def _garbage(conn) -> None:
    await conn.read()
    await conn.write(b"\x00\x05hello")
    await conn.read()


async def _silence(conn) -> None:
    await conn.silence()


@pytest.mark.parametrize(
    ("over_tcp", "failure"),
    [
        (_reset, "connection_reset"),
        (_fin, "eof_error"),
        (_garbage, "dns_server_misbehaving"),
        (_silence, "generic_timeout_error"),
    ],
)
def test_a_truncated_answer_that_tcp_cannot_complete(over_tcp, failure):
    seen = asyncio.run(ask_truncated(over_tcp, timeout_s=0.3))
    assert (seen.failure, seen.transport) == (failure, "tcp")
    kept = asyncio.run(ask_truncated(over_tcp, GENUINE, timeout_s=0.3))
    assert (kept.failure, kept.transport, kept.answers) == (None, "udp", ("198.51.100.7",))


@pytest.mark.parametrize("name", ["a" * 64 + ".example", ".".join(["abcdefgh"] * 40), "a..example", "\udcff.example"])
def test_a_name_that_cannot_be_asked_for_is_an_unknown_failure(name):
    async def run() -> Dns:
        nobody = Resolver(address=HERE, port=9, role=Role.LAN)
        return (await step.ask(vantage(), nobody, name, "A", occasion=now(), timeout_s=5)).dns

    assert asyncio.run(run()).failure.startswith("unknown_failure")


def test_256_questions_at_once_lose_no_answer():
    async def run() -> list[Dns]:
        async with dns_peer(lambda query: [(0.05, answer(query, GENUINE).to_wire())]) as resolver:
            here, occasion = vantage(), now()
            asking = [step.ask(here, resolver, NAME, "A", occasion=occasion, timeout_s=20) for _ in range(256)]
            return [asked.dns for asked in await asyncio.gather(*asking)]

    seen = asyncio.run(run())
    assert [one.failure for one in seen if one.failure] == []
    assert len({one.local_port for one in seen}) == 256


def test_an_answer_is_bounded():
    records = [f"{NAME} 60 IN A 198.51.{high}.{low}" for high in (100, 101) for low in range(1, 200)]
    seen = asyncio.run(ask_truncated(_many(records)))
    assert (seen.failure, len(seen.answers), len(base64.b64decode(seen.raw))) == (None, 64, 4096)


def _many(records):
    async def behave(conn) -> None:
        wire = await conn.read()
        whole = answer(dns.message.from_wire(wire[2:]), *records).to_wire(max_size=65535)
        await conn.write(len(whole).to_bytes(2) + whole)
        await conn.read()

    return behave


@given(st.binary(max_size=600))
def test_no_bytes_over_udp_make_it_raise(garbage):
    # The id is right, so that what follows it is read.
    seen = ask(lambda query: [(0, garbage), (0, query.to_wire()[:2] + garbage)], timeout_s=0.002)
    assert seen.failure


@given(st.binary(max_size=300))
@settings(max_examples=25)
def test_no_bytes_over_tcp_make_it_raise(garbage):
    async def behave(conn) -> None:
        await conn.read()
        await conn.write(garbage)

    assert asyncio.run(ask_truncated(behave, timeout_s=1)).failure


@given(st.lists(st.tuples(st.integers(12, 120), st.integers(0, 255)), max_size=8), st.integers(0, 120))
@settings(max_examples=300)
def test_no_damaged_answer_raises_anything_but_unreadable(damage, cut):
    question = Question(NAME, "A")
    response = answer(dns.message.from_wire(question.wire), GENUINE, f"{NAME} 60 IN TXT x", "x.example 60 IN MX 1 x.")
    response.use_edns(0, options=[dns.edns.EDEOption(15, "text")])
    wire = bytearray(response.to_wire())
    for place, value in damage:
        wire[place % len(wire)] = value
    with contextlib.suppress(Unreadable):
        question.read(bytes(wire[: len(wire) - cut]))
