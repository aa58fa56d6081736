"""Ed25519 keys and signatures in minisign's file format, so that anybody's `minisign` checks what is signed here.

The format: https://jedisct1.github.io/minisign/. Keys are kept as `minisign -G -W` makes them, without a password.
"""

import base64
import binascii
import hashlib
import secrets

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from monitor.messages import Said

_PURE, _PREHASHED = b"Ed", b"ED"  # over the file itself (keys, and old signatures), over its BLAKE2b digest
_NO_PASSWORD, _CHECKSUM = b"\0\0", b"B2"
_ID_BYTES, _KEY_BYTES, _SIGNATURE_BYTES = 8, 32, 64
_KDF_BYTES = 32 + 8 + 8  # salt and limits
_SECRET_BYTES = 2 + 2 + 2 + _KDF_BYTES + _ID_BYTES + 2 * _KEY_BYTES + 32
_MOST_CHARACTERS = 8192  # of a file
_COMMENT, _TRUSTED = "untrusted comment: ", "trusted comment: "
_NO_PUBLIC_KEY = Said("expected a minisign public key")
_NO_SECRET_KEY = Said("expected a minisign secret key")
_NO_SIGNATURE = Said("expected a minisign signature")


class NotMinisign(Exception):
    """A text is no key, or no signature, of this format. Its text is one line."""


class PublicKey(Struct, frozen=True):
    """id: chance, to find the key by; key: 32 bytes."""

    id: bytes
    key: bytes

    @property
    def name(self) -> str:
        """The id as minisign prints it."""
        return _id_text(self.id)

    @property
    def text(self) -> str:
        """On one line, as it is published."""
        return base64.b64encode(_PURE + self.id + self.key).decode()

    @property
    def file(self) -> str:
        """As a file."""
        return f"{_COMMENT}minisign public key {self.name}\n{self.text}\n"


class SecretKey(Struct, frozen=True):
    """id: of the pair; seed: 32 bytes that nobody else may know."""

    id: bytes
    seed: bytes

    @property
    def public(self) -> PublicKey:
        """What others check signatures with."""
        return PublicKey(self.id, Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())

    @property
    def file(self) -> str:
        """As a file."""
        pair = self.id + self.seed + self.public.key
        content = _PURE + _NO_PASSWORD + _CHECKSUM + bytes(_KDF_BYTES) + pair + bytes(32)
        return f"{_COMMENT}minisign encrypted secret key\n{base64.b64encode(content).decode()}\n"


class Signature(Struct, frozen=True):
    """id: of the key. comment: signed as well. whole: over the signature and the comment."""

    algorithm: bytes
    id: bytes
    signature: bytes
    comment: str
    whole: bytes

    @property
    def key_name(self) -> str:
        """The key's id as minisign prints it."""
        return _id_text(self.id)

    @property
    def file(self) -> str:
        """As a file."""
        first = base64.b64encode(self.algorithm + self.id + self.signature).decode()
        second = base64.b64encode(self.whole).decode()
        return f"{_COMMENT}signature from minisign secret key\n{first}\n{_TRUSTED}{self.comment}\n{second}\n"


def new_key() -> SecretKey:
    """One that nobody had before."""
    return SecretKey(secrets.token_bytes(_ID_BYTES), secrets.token_bytes(_KEY_BYTES))


def sign(key: SecretKey, content: bytes, comment: str) -> Signature:
    """A signature over the content and the comment, which is one line."""
    if not comment.isprintable():
        raise ValueError("a comment is one line")
    private = Ed25519PrivateKey.from_private_bytes(key.seed)
    signature = private.sign(_digest(content))
    whole = private.sign(signature + comment.encode())
    return Signature(algorithm=_PREHASHED, id=key.id, signature=signature, comment=comment, whole=whole)


def is_signed(content: bytes, signature: Signature, key: PublicKey) -> bool:
    """Did the owner of the key sign the content, and the comment?"""
    if signature.id != key.id:
        return False
    public = Ed25519PublicKey.from_public_bytes(key.key)
    try:
        public.verify(signature.signature, content if signature.algorithm == _PURE else _digest(content))
        public.verify(signature.whole, signature.signature + signature.comment.encode())
    except InvalidSignature:
        return False
    return True


def read_public(text: str) -> PublicKey:
    """A public key from its file, or from its line; NotMinisign."""
    lines = _lines(text)
    content = _content(lines[-1] if len(lines) <= 2 else "", 2 + _ID_BYTES + _KEY_BYTES, _NO_PUBLIC_KEY)
    if content[:2] != _PURE:
        raise NotMinisign(_NO_PUBLIC_KEY)
    return PublicKey(content[2:10], content[10:])


def read_secret(text: str) -> SecretKey:
    """A secret key from its file; NotMinisign."""
    lines = _lines(text)
    content = _content(lines[1] if len(lines) == 2 else "", _SECRET_BYTES, _NO_SECRET_KEY)
    if content[:2] != _PURE:
        raise NotMinisign(_NO_SECRET_KEY)
    if content[2:4] != _NO_PASSWORD:
        raise NotMinisign(Said("expected a key without a password, as `almenara key` and `minisign -G -W` make them"))
    start = 6 + _KDF_BYTES
    key = SecretKey(content[start : start + 8], content[start + 8 : start + 40])
    if key.public.key != content[start + 40 : start + 72]:
        raise NotMinisign(Said("expected a secret key and the public key that belongs to it; the file is damaged"))
    return key


def read_signature(text: str) -> Signature:
    """A signature from its file; NotMinisign."""
    lines = _lines(text)
    if len(lines) != 4 or not lines[2].startswith(_TRUSTED):
        raise NotMinisign(_NO_SIGNATURE)
    first = _content(lines[1], 2 + _ID_BYTES + _SIGNATURE_BYTES, _NO_SIGNATURE)
    if first[:2] not in (_PURE, _PREHASHED):
        raise NotMinisign(_NO_SIGNATURE)
    whole = _content(lines[3], _SIGNATURE_BYTES, _NO_SIGNATURE)
    comment = lines[2].removeprefix(_TRUSTED)
    return Signature(algorithm=first[:2], id=first[2:10], signature=first[10:], comment=comment, whole=whole)


def _lines(text: str) -> list[str]:
    return text[:_MOST_CHARACTERS].replace("\r\n", "\n").rstrip("\n").split("\n")


def _content(line: str, size: int, expected: Said) -> bytes:
    try:
        content = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if len(content) != size:
        raise NotMinisign(expected)
    return content


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content).digest()


def _id_text(id: bytes) -> str:
    return id[::-1].hex().upper()
