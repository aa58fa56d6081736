"""A measurement's facts as few bytes, and back.

Without its verdict, as JSON; certificates by their fingerprint, since the same ones are seen again and again; then
zlib, with its checksum and a dictionary of what every measurement has in it. What is packed today must be read in ten
years: a format's number is stored with the bytes, and neither its meaning nor its dictionary ever changes.
"""

import base64
import binascii
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from monitor.models import Certificate, Control, Measurement, Observations, Tls
from monitor.store.dictionary import DICTIONARY_1

FORMAT = 1
_LEVEL = 6
# In place of a certificate's bytes, which are kept once. No base64 begins so; what a stranger wrote so gets one more.
_ELSEWHERE = "="
_LARGEST = 256 * 1024 * 1024  # bytes unpacked; a file may hold lines of 16 MiB

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Measurement)


@dataclass
class Packed:
    """data: the facts. certificates: those that were taken out, fingerprint -> DER."""

    data: bytes
    certificates: dict[bytes, bytes] = field(default_factory=dict)


class Damaged(ValueError):
    """Bytes that were not packed here."""


def pack(measurement: Measurement) -> Packed:
    """The facts of a measurement."""
    taken: dict[bytes, bytes] = {}

    def take(certificate: Certificate) -> Certificate:
        if certificate.der.startswith(_ELSEWHERE):
            return msgspec.structs.replace(certificate, der=_ELSEWHERE + certificate.der)
        try:
            der = base64.b64decode(certificate.der, validate=True)
        except (binascii.Error, ValueError):
            return certificate
        fingerprint = hashlib.sha256(der).digest()
        exact = base64.b64encode(der).decode() == certificate.der and fingerprint.hex() == certificate.sha256
        if not der or not exact:
            return certificate
        taken[fingerprint] = der
        return msgspec.structs.replace(certificate, der=_ELSEWHERE)

    bare = _with_certificates(msgspec.structs.replace(measurement, verdict=None), take)
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, 9, zdict=DICTIONARY_1)
    return Packed(packer.compress(encoded(bare)) + packer.flush(), taken)


def unpack(format: int, data: bytes, certificates: Mapping[bytes, bytes]) -> Measurement:
    """The measurement, without a verdict; Damaged. certificates: those it has elsewhere, and perhaps others."""
    if format != FORMAT:
        raise Damaged(f"packed in format {format}")

    def fill(certificate: Certificate) -> Certificate:
        if not certificate.der.startswith(_ELSEWHERE):
            return certificate
        told = certificate.der.removeprefix(_ELSEWHERE)
        if not told:
            told = base64.b64encode(certificates.get(bytes.fromhex(certificate.sha256), b"")).decode()
        return msgspec.structs.replace(certificate, der=told)

    try:
        unpacker = zlib.decompressobj(zlib.MAX_WBITS, zdict=DICTIONARY_1)
        json = unpacker.decompress(data, _LARGEST)
        if not unpacker.eof:
            raise Damaged("packed bytes end early")
        return _with_certificates(_decoder.decode(json), fill)
    except (zlib.error, msgspec.DecodeError, ValueError) as exc:
        raise Damaged(str(exc)) from exc


def encoded(value: Any) -> bytes:
    """JSON; halves of characters, which no JSON can hold, are replaced."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encoder.encode(_whole(msgspec.to_builtins(value)))


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list | tuple) else value


def _with_certificates(measurement: Measurement, change: Any) -> Measurement:
    if not any(tls.chain for tls in _all_tls(measurement)):
        return measurement
    controls: tuple[Control, ...] = tuple(
        msgspec.structs.replace(control, tls=_changed(control.tls, change)) for control in measurement.controls
    )
    return msgspec.structs.replace(measurement, tls=_changed(measurement.tls, change), controls=controls)


def _changed(seen: Sequence[Tls], change: Any) -> tuple[Tls, ...]:
    return tuple(
        msgspec.structs.replace(tls, chain=tuple(map(change, tls.chain))) if tls.chain else tls for tls in seen
    )


def _all_tls(measurement: Measurement) -> Iterator[Tls]:
    seen: tuple[Observations, ...] = (measurement, *measurement.controls)
    for one in seen:
        yield from one.tls
