"""The lab's DNS: every resolver, honest or not, and the zones they all share."""

import asyncio
import socket
import struct

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from monitor.lab.policy import LIES, Policy
from monitor.lab.world import Resolver, World, Zone
from monitor.origin import NAMES_ZONE, ZONES, prefix_of
from monitor.whoami import MIRROR_NAME, NAME_SERVERS_NAME

_TTL_S = 60
_TURN = 64  # datagrams answered before anything else gets its turn
_PACKET_INFO = 8  # IP_PKTINFO, absent from Python's socket module
_DOH = Resolver(region="doh")
_RECORD = {dns.rdatatype.A: False, dns.rdatatype.AAAA: True}


class Names:
    """Answers questions as each resolver would."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lies: dict[int, Policy] = {}
        self._origins = _origins(world)
        for number, (_, policy) in enumerate(world.policies):
            if policy.technique in LIES:
                self._lies[-1 - number] = policy

    def put(self, number: int, policy: Policy) -> None:
        """From now on the policy's resolvers lie about its names."""
        self._lies[number] = policy

    def lift(self, number: int) -> None:
        """They stop."""
        self._lies.pop(number, None)

    def ask_privately(self, query: bytes) -> bytes | None:
        """The answer of the encrypted resolvers, that nobody makes lie."""
        return self._reply(query, _DOH, "", "")

    def ask(self, query: bytes, resolver: str, client: str) -> bytes | None:
        """The answer of whoever is at an address; None: silence."""
        who = self._world.resolvers.get(resolver)
        if who is None or who.kind == "dead":
            return None
        return self._reply(query, who, resolver, client)

    def _reply(self, query: bytes, who: Resolver, address: str, client: str) -> bytes | None:
        try:
            message = dns.message.from_wire(query)
        except (dns.exception.DNSException, ValueError):
            return None
        if len(message.question) != 1 or message.flags & dns.flags.QR:
            return None
        answer = dns.message.make_response(message, recursion_available=True)
        name = message.question[0].name.to_text(omit_final_dot=True).lower()
        if who.kind == "mirror":
            return _mirrored(answer, name, client).to_wire()
        lie = self._lie(name, address)
        said = self._told(answer, lie) if lie else self._known(answer, name, who)
        return answer.to_wire() if said else None

    def _lie(self, name: str, address: str) -> Policy | None:
        for policy in self._lies.values():
            if name in policy.names and address in policy.resolvers:
                return policy
        return None

    def _told(self, answer: dns.message.Message, lie: Policy) -> bool:
        rcode = LIES[lie.technique]
        if rcode is None:
            return False
        answer.set_rcode(dns.rcode.from_text(rcode))
        _add(answer, lie.answers)
        return True

    def _known(self, answer: dns.message.Message, name: str, who: Resolver) -> bool:
        zone = self._world.zones.get(name)
        if name in self._origins:
            _add_text(answer, self._origins[name])
            return True
        if zone is None:
            if who.kind == "advertising":
                _add(answer, (who.advert,))
            else:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            return True
        if zone.trouble == "servfail" or (zone.trouble == "dnssec" and not answer.flags & dns.flags.CD):
            answer.set_rcode(dns.rcode.SERVFAIL)
            _explain(answer, zone)
            return True
        _add(answer, zone.by_region.get(who.region, zone.addresses), zone.alias)
        return True


def _origins(world: World) -> dict[str, str]:
    """Name -> text of the zones that say who announces which address (Team Cymru's)."""
    found = {}
    for address, (asn, isp, country) in world.networks().items():
        prefix = prefix_of(address)
        reverse = prefix.network_address.reverse_pointer.rpartition(".")[0].rpartition(".")[0]
        found[f"{reverse}.{ZONES[prefix.version]}"] = f"{asn} | {prefix} | {country} | lacnic | 1999-09-21"
        found[f"as{asn}.{NAMES_ZONE}"] = f"{asn} | {country} | lacnic | 1997-08-14 | {isp}, {country}"
    return found


def _mirrored(answer: dns.message.Message, name: str, client: str) -> dns.message.Message:
    """Who asks, to the two names that tell."""
    if name == MIRROR_NAME:
        _add(answer, (client,))
    elif name == NAME_SERVERS_NAME:
        _add_text(answer, client)
    else:
        answer.set_rcode(dns.rcode.REFUSED)
    return answer


def _add_text(answer: dns.message.Message, text: str) -> None:
    question = answer.question[0]
    if question.rdtype == dns.rdatatype.TXT:
        answer.answer.append(dns.rrset.from_text(question.name, _TTL_S, "IN", "TXT", f'"{text}"'))


def _add(answer: dns.message.Message, addresses: tuple[str, ...], alias: str = "") -> None:
    """Those of the addresses that fit the question, behind an alias where there is one."""
    owner = answer.question[0].name
    kind = answer.question[0].rdtype
    if alias:
        answer.answer.append(dns.rrset.from_text(owner, _TTL_S, "IN", "CNAME", alias + "."))
        owner = answer.answer[0][0].target
    fitting = [text for text in addresses if _RECORD.get(kind) == (":" in text)]
    if fitting:
        answer.answer.append(dns.rrset.from_text_list(owner, _TTL_S, "IN", kind, fitting))


def _explain(answer: dns.message.Message, zone: Zone) -> None:
    """The extended error (RFC 8914) of a validating resolver."""
    if answer.edns >= 0:
        code = dns.edns.EDECode.DNSSEC_BOGUS if zone.trouble == "dnssec" else dns.edns.EDECode.NO_REACHABLE_AUTHORITY
        answer.use_edns(0, options=[dns.edns.EDEOption(code)])


class Datagrams:
    """DNS over UDP, answered from the address that was asked."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.IPPROTO_IP, _PACKET_INFO, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.setblocking(False)
        self._socket.bind(("0.0.0.0", 53))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        for _ in range(_TURN):
            try:
                query, notes, _, client = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return
            asked = notes[0][2][4:8] if notes else b""
            answer = self._names.ask(query, socket.inet_ntoa(asked), client[0]) if asked else None
            if answer is not None:
                source = struct.pack("I4s4s", 0, asked, b"\0" * 4)
                self._send(answer, source, client)

    def _send(self, answer: bytes, source: bytes, client: tuple[str, int]) -> None:
        try:
            self._socket.sendmsg([answer], [(socket.IPPROTO_IP, _PACKET_INFO, source)], 0, client)
        except BlockingIOError:
            return  # a full buffer loses a datagram, here as anywhere


class Conversation(asyncio.Protocol):
    """DNS over TCP."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._resolver: str = transport.get_extra_info("sockname")[0]
        self._client: str = transport.get_extra_info("peername")[0]

    def data_received(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= 2 and len(self._data) >= (end := 2 + int.from_bytes(self._data[:2], "big")):
            query, self._data = self._data[2:end], self._data[end:]
            answer = self._names.ask(query, self._resolver, self._client)
            if answer is None:
                self._transport.close()
                return
            self._transport.write(len(answer).to_bytes(2, "big") + answer)
