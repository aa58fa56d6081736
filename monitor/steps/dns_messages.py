"""DNS questions and answers as bytes. `dnspython` reads them; what is kept of a hostile answer is bounded here."""

import struct
from base64 import b64encode
from copy import copy
from functools import lru_cache

import dns.entropy
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
from dns.edns import EDEOption
from msgspec import Struct

# What resolvers and networks pass unfragmented (dnsflagday.net/2020).
EDNS_PAYLOAD_BYTES = 1232
MAX_ADDRESSES = 64
MAX_CNAMES = 16
MAX_ERRORS = 8
MAX_RAW_BYTES = 4096

_UNREADABLE = (dns.exception.DNSException, struct.error, ValueError, IndexError, KeyError, TypeError, OverflowError)


class Answer(Struct, frozen=True, kw_only=True):
    """What one answer says. `answers`: the addresses at the end of the question's CNAME chain."""

    rcode: str
    truncated: bool
    answers: tuple[str, ...]
    cnames: tuple[str, ...]
    errors: tuple[int, ...]
    raw: bytes

    @property
    def raw_text(self) -> str:
        """base64, bounded."""
        return b64encode(self.raw[:MAX_RAW_BYTES]).decode()

    def says(self) -> tuple[str, frozenset[str]]:
        """What makes it different from another answer: not the order, nor the time to live."""
        return self.rcode, frozenset(self.answers)


class Unreadable(Exception):
    """Bytes that are no DNS message."""


class Question:
    """One question, with a random id. Raises ValueError where the name or the type cannot be asked for."""

    def __init__(self, name: str, type: str, *, checking_disabled: bool = False, edns: bool = True) -> None:
        try:
            query, wire = _query(name, type, checking_disabled, edns)
        except _UNREADABLE as error:
            raise ValueError(f"no such question: {name!r} {type!r}") from error
        self._query = copy(query)
        self._query.id = dns.entropy.random_16()
        self.wire = self._query.id.to_bytes(2) + wire[2:]

    def read(self, wire: bytes) -> Answer | None:
        """The answer in these bytes; None where it answers something else. Raises Unreadable."""
        try:
            message = dns.message.from_wire(wire, ignore_trailing=True)
            if not self._query.is_response(message):
                return None
            return self._answer(message, wire)
        except _UNREADABLE as error:
            raise Unreadable from error

    def _answer(self, message: dns.message.Message, wire: bytes) -> Answer:
        asked = self._query.question[0]
        addresses, cnames = _follow(message, asked.name, asked.rdtype)
        options = [option for option in message.options[:100] if isinstance(option, EDEOption)]
        return Answer(
            rcode=dns.rcode.to_text(message.rcode()),
            truncated=bool(message.flags & dns.flags.TC),
            answers=addresses,
            cnames=cnames,
            errors=tuple(int(option.code) for option in options[:MAX_ERRORS]),
            raw=wire,
        )


@lru_cache(256)  # a name is asked for several times, of several resolvers
def _query(name: str, type: str, checking_disabled: bool, edns: bool) -> tuple[dns.message.QueryMessage, bytes]:
    flags = dns.flags.RD | (dns.flags.CD if checking_disabled else 0)
    query = dns.message.make_query(name, type, use_edns=0 if edns else False, payload=EDNS_PAYLOAD_BYTES, flags=flags)
    return query, query.to_wire()


def _follow(
    message: dns.message.Message, name: dns.name.Name, type: dns.rdatatype.RdataType
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The addresses at the end of the CNAME chain that starts at the name asked for, and the chain."""
    records = {(rrset.name, rrset.rdtype): rrset for rrset in message.answer if rrset.rdclass == dns.rdataclass.IN}
    cnames: list[str] = []
    while (name, type) not in records and len(cnames) < MAX_CNAMES:
        alias = records.get((name, dns.rdatatype.CNAME))
        if alias is None:
            break
        name = alias[0].target
        cnames.append(name.to_text(omit_final_dot=True).lower())
    found = records.get((name, type), ())
    addresses = [str(record.address) for record in found if hasattr(record, "address")]
    return tuple(addresses[:MAX_ADDRESSES]), tuple(cnames)
