"""The dns step: one question to one resolver, in the clear, from a socket of its own."""

import asyncio
import socket
from typing import Any

import msgspec

from monitor.failures import DNS_MISBEHAVING, TIMEOUT, dns_failure, failure_string
from monitor.models import Dns, LateAnswer
from monitor.steps.dns_messages import Answer, Question, Unreadable
from monitor.steps.occasion import Occasion
from monitor.steps.stream import port_of
from monitor.steps.tcp import connecting_failure, stream_to
from monitor.vantage import Resolver, Vantage, sockaddr

# With the default buffer a burst of 256 questions at once lost about 50 answers: false timeouts.
RECEIVE_BUFFER_BYTES = 256 * 1024
MAX_DATAGRAM_BYTES = 4096
MAX_LATE_ANSWERS = 8
# `sock_recv` does not suspend while datagrams lie ready: a flood would stop every timeout from firing.
_DATAGRAMS_BETWEEN_PAUSES = 16

# How resolvers that know no EDNS answer; they are asked again without it (RFC 6891, 7).
_NO_EDNS = frozenset({"FORMERR", "NOTIMP", "BADVERS"})


class Asked:
    """A question that was answered, or not. `dns`: by the first answer."""

    def __init__(self, observation: Dns, lingering: "asyncio.Task[list[tuple[float, Answer]]] | None" = None) -> None:
        self.dns = observation
        self._lingering = lingering

    async def settled(self) -> Dns:
        """The same with its late answers, once no more are waited for."""
        if self._lingering is not None:
            late = _different(self.dns, await self._lingering)
            self.dns = msgspec.structs.replace(self.dns, late=late)
            self._lingering = None
        return self.dns


def _different(observation: Dns, answers: list[tuple[float, Answer]]) -> tuple[LateAnswer, ...]:
    """The late answers that say something else than the first and than each other."""
    said: set[tuple[str | None, frozenset[str]]] = {(observation.rcode, frozenset(observation.answers))}
    late = []
    for delay, answer in answers:
        # A truncated answer says nothing, and the complete one came over TCP.
        if answer.says() not in said and not answer.truncated:
            said.add(answer.says())
            late.append(LateAnswer(delay=delay, rcode=answer.rcode, answers=answer.answers))
    return tuple(late)


async def ask(
    vantage: Vantage,
    resolver: Resolver,
    name: str,
    type: str,
    *,
    occasion: Occasion,
    timeout_s: float,
    linger_s: float = 0.0,
    checking_disabled: bool = False,
) -> Asked:
    """Asks for a name's addresses (type: A or AAAA), and listens linger_s longer for a second, different answer."""
    conversation = _Conversation(vantage, resolver, occasion, timeout_s, linger_s)
    started = occasion.elapsed()
    failure: str | None = None
    try:
        await conversation.ask(name, type, checking_disabled)
    except (OSError, ValueError, EOFError, Unreadable) as error:
        failure = conversation.failure_of(error)
    finally:
        conversation.close()
    observation = Dns(
        hop=occasion.hop,
        attempt=occasion.attempt,
        purpose=occasion.purpose,
        started=started,
        duration=round(occasion.elapsed() - started, 6),
        name=name,
        type=type,
        resolver=resolver.label,
        role=resolver.role,
        transport=conversation.transport,
        local_port=conversation.local_port,
        **said(conversation.answer, failure),
    )
    return Asked(observation, conversation.lingering)


def said(answer: Answer | None, failure: str | None) -> dict[str, Any]:
    """The fields of an observation that an answer fills."""
    if answer is None:
        return {"failure": failure, "rcode": None}
    return {
        "failure": failure or dns_failure(answer.rcode, bool(answer.answers)),
        "rcode": answer.rcode,
        "answers": answer.answers,
        "cnames": answer.cnames,
        "errors": answer.errors,
        "raw": answer.raw_text,
    }


class _Conversation:
    """One question's way: over UDP, then over TCP where the answer was cut, or again where EDNS was not understood."""

    def __init__(
        self, vantage: Vantage, resolver: Resolver, occasion: Occasion, timeout_s: float, linger_s: float
    ) -> None:
        self.transport = "udp"
        self.local_port: int | None = None
        self.answer: Answer | None = None
        self.lingering: asyncio.Task[list[tuple[float, Answer]]] | None = None
        self._garbage = False
        self._connecting = False
        self._socket: socket.socket | None = None
        self._vantage, self._resolver, self._occasion = vantage, resolver, occasion
        self._timeout_s, self._linger_s = timeout_s, linger_s

    async def ask(self, name: str, type: str, checking_disabled: bool) -> None:
        """Sets `answer`, or raises why there is none."""
        question = Question(name, type, checking_disabled=checking_disabled)
        async with asyncio.timeout(self._timeout_s):
            if self._vantage.proxy is not None:  # UDP passes through none
                self.answer = await self._ask_over_tcp(question)
                if self.answer.rcode in _NO_EDNS:
                    question = Question(name, type, checking_disabled=checking_disabled, edns=False)
                    self.answer = await self._ask_over_tcp(question)
                return
            self.answer = await self._ask_udp(question)
            if self.answer.rcode in _NO_EDNS:
                self.close()
                question = Question(name, type, checking_disabled=checking_disabled, edns=False)
                self.answer = await self._ask_udp(question)
            self._linger(question)
            if self.answer.truncated:
                self.answer = await self._ask_over_tcp(question)

    def failure_of(self, error: Exception) -> str | None:
        """Something came, but nothing that could be read: that is not silence."""
        if self.answer is not None and self.answer.answers:
            self.transport = "udp"
            return None  # cut, and not to be had whole over TCP; what it says still counts
        if self._connecting:
            return connecting_failure(self._vantage, error)
        failure = DNS_MISBEHAVING if isinstance(error, Unreadable) else failure_string(error)
        return DNS_MISBEHAVING if self._garbage and failure == TIMEOUT else failure

    def close(self) -> None:
        """Ends the socket, unless it is lingering."""
        if self._socket is not None and self.lingering is None:
            self._socket.close()

    async def _ask_udp(self, question: Question) -> Answer:
        address = self._resolver.address
        self._socket = self._vantage.open_socket(6 if ":" in address else 4, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        # Connected, so that the kernel drops what others send and tells us of ICMP errors.
        self._socket.connect(sockaddr(address, self._resolver.port))
        self.local_port = port_of(self._socket)
        self._vantage.traffic.sent += self._socket.send(question.wire)
        return await self._next_answer(self._socket, question)

    async def _next_answer(self, opened: socket.socket, question: Question) -> Answer:
        """The next datagram that answers the question; all others are passed over."""
        loop = asyncio.get_running_loop()
        datagrams = 0
        while True:
            wire = await loop.sock_recv(opened, MAX_DATAGRAM_BYTES)
            self._vantage.traffic.received += len(wire)
            try:
                answer = question.read(wire)
            except Unreadable:
                self._garbage = True
            else:
                if answer is not None:
                    return answer
            datagrams += 1
            if datagrams % _DATAGRAMS_BETWEEN_PAUSES == 0:
                await asyncio.sleep(0)

    def _linger(self, question: Question) -> None:
        if self._linger_s > 0 and self._socket is not None:
            opened = self._socket
            self.lingering = asyncio.create_task(self._late_answers(opened, question))
            # Not in the task: it may be cancelled before its first line.
            self.lingering.add_done_callback(lambda _: opened.close())

    async def _late_answers(self, opened: socket.socket, question: Question) -> list[tuple[float, Answer]]:
        """Whatever else answers the question, with the seconds since the first answer."""
        loop = asyncio.get_running_loop()
        first = loop.time()
        late: list[tuple[float, Answer]] = []
        try:
            async with asyncio.timeout(self._linger_s):
                while len(late) < MAX_LATE_ANSWERS:
                    answer = await self._next_answer(opened, question)
                    late.append((round(loop.time() - first, 6), answer))
        except OSError:  # the time is over, or an ICMP error ended it
            pass
        return late

    async def _ask_over_tcp(self, question: Question) -> Answer:
        self.transport = "tcp"
        resolver = self._resolver
        stream = stream_to(self._vantage, resolver.address, resolver.port)
        try:
            self._connecting = True
            await stream.connect()
            self._connecting = False
            self.local_port = stream.local_port
            await stream.send(len(question.wire).to_bytes(2) + question.wire)
            wire = bytearray()
            while len(wire) < 2 or len(wire) < 2 + int.from_bytes(wire[:2]):
                received = await stream.receive()
                if not received:
                    raise EOFError
                wire += received
        finally:
            stream.close()
        answer = question.read(bytes(wire[2:]))
        if answer is None:
            raise Unreadable
        return answer
