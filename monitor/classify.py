"""Stored measurements judged again: Almenara's own or OONI's, one after the other, however large the files are.

What lies in a file was written by somebody else: a line is at most MAX_LINE long, a compressed file may not grow
without end, and a line that cannot be read costs one message and not the others.
"""

import gzip
import io
import itertools
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar, cast

import msgspec
from msgspec import Struct

from monitor import system_errors
from monitor.control.bounds import text
from monitor.explain import worded_measurement
from monitor.language import Words, here
from monitor.messages import N_, Said
from monitor.models import Certificate, Measurement, Network, Status, to_json
from monitor.ooni import OoniError, from_ooni
from monitor.verdict import judge

MAX_LINE = 16 * 1024 * 1024  # bytes; OONI's largest measurements have a few MiB
# Measurements of one site from one place are much alike and shrink to a fiftieth, a bomb to a thousandth and less.
MAX_RATIO = 400
MAX_UNQUESTIONED = 256 * 1024 * 1024  # bytes; up to here the ratio is not looked at
MAX_WINDOW = 128 * 1024 * 1024  # bytes; what `zstd --ultra` and `--long` ask for

MAX_TOLD = 20  # unreadable lines of a file that are told one by one
_CHUNK = 64 * 1024
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_STYLES = {
    Status.OK: "green",
    Status.BLOCKED: "bold red",
    Status.DOWN: "yellow",
    Status.GEOBLOCKED: "magenta",
    Status.INCONCLUSIVE: "dim",
}
_COLUMNS = (
    (N_("site"), 34),
    (N_("network"), 22),
    (N_("status"), 14),
    (N_("methods"), 30),
    (N_("confidence"), 10),
    (N_("rule"), 0),
)

Show = Callable[[Measurement], None]
T = TypeVar("T")


class UnreadableError(ValueError):
    """A file, or a line of one, that holds no measurement; the message is one short line."""


class Limits(Struct, frozen=True, kw_only=True):
    """Bytes that one line may have, that a compressed file may grow to, and how many times its size beyond that."""

    line: int = MAX_LINE
    unquestioned: int = MAX_UNQUESTIONED
    ratio: int = MAX_RATIO


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end."""
        ...


def run(files: Sequence[Path], *, json: bool) -> int:
    """Judge every measurement in the files (`-`: standard input) and print it; 1 when something could not be read."""
    show = _show_json if json else _table()
    reading = Reading()
    for file in files:
        for found in reading.readable(file, measurements(file)):
            show(worded_measurement(msgspec.structs.replace(found, verdict=judge(found))))
    return 1 if reading.unread else 0


def unread_words(file: Path, more: int) -> str:
    """That so many lines could not be read, besides those that were told."""
    return here().many(
        "{file}: {count} more line could not be read", "{file}: {count} more lines could not be read",
        more, file=text(str(file)),
    )  # fmt: skip


class Reading:
    """unread: how many places of all the files could not be read."""

    def __init__(self) -> None:
        self.unread = 0

    def readable(self, file: Path, places: Iterable[tuple[str, T | UnreadableError]]) -> Iterator[T]:
        """What can be read of a file's places; the first that cannot are told."""
        unread = 0
        for where, found in places:
            if not isinstance(found, UnreadableError):
                yield found
                continue
            unread += 1
            if unread <= MAX_TOLD:
                sys.stderr.write(f"{where}: {here().said(found)}\n")
        if unread > MAX_TOLD:
            sys.stderr.write(f"{unread_words(file, unread - MAX_TOLD)}\n")
        self.unread += unread


def measurements(file: Path, limits: Limits | None = None) -> Iterator[tuple[str, Measurement | UnreadableError]]:
    """Every measurement in a file, or why it could not be read, each with the place: "file:line"."""
    for where, line in documents(file, limits):
        for found in measurements_of(line) if isinstance(line, bytes) else (line,):
            yield where, found


def documents(file: Path, limits: Limits | None = None) -> Iterator[tuple[str, bytes | UnreadableError]]:
    """Every line of a file, or why it could not be read, each with the place: "file:line"."""
    limits = limits or Limits()
    name = "stdin" if str(file) == "-" else text(str(file))
    number = 0
    try:
        with _opened(file) as source:
            for number, line in _documents(_decompressed(source, limits), limits.line):
                yield f"{name}:{number}", line
    except UnreadableError as exc:
        yield f"{name}:{number + 1}", exc
    except OSError as exc:
        yield name, UnreadableError(system_errors.problem(exc))


def _opened(file: Path) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb")


# --- bytes and lines -----------------------------------------------------------------------------------------------


class _Counted:
    """A source whose first bytes were looked at, and how much of it was read."""

    def __init__(self, source: Readable) -> None:
        self.head = source.read(4)
        self.count = len(self.head)
        self._ahead, self._source = self.head, source

    def read(self, size: int = _CHUNK) -> bytes:
        """The next bytes."""
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        data = self._source.read(min(size, _CHUNK) if size > 0 else _CHUNK)
        self.count += len(data)
        return data


class _Expanded(io.RawIOBase):
    """What a source expands to, until it is too much."""

    def __init__(self, source: _Counted, expanded: Readable, limits: Limits) -> None:
        self._source, self._expanded, self._limits = source, expanded, limits
        self._size = 0

    def readable(self) -> bool:
        """For BufferedReader."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes; UnreadableError where they are no compressed data, or a bomb."""
        broken: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error, *_zstd_errors())
        try:
            data = self._expanded.read(len(buffer))
        except broken as exc:
            raise UnreadableError(Said("cannot be read: {problem}", problem=text(str(exc)))) from exc
        self._size += len(data)
        if self._size > max(self._limits.unquestioned, self._limits.ratio * self._source.count):
            raise UnreadableError(
                Said("grows to more than {number} times its compressed size", number=self._limits.ratio)
            )
        buffer[: len(data)] = data
        return len(data)


class _Joined(io.RawIOBase):
    """What was already read of a stream, and the rest of it."""

    def __init__(self, already: bytes, rest: Readable) -> None:
        self._already, self._rest = io.BytesIO(already), rest

    def readable(self) -> bool:
        """For BufferedReader."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes."""
        data = self._already.read(len(buffer)) or self._rest.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _decompressed(source: Readable, limits: Limits) -> io.BufferedReader:
    """By what the file begins with, whatever it is called."""
    counted = _Counted(source)
    expanded: Readable = counted
    if counted.head.startswith(_GZIP):
        expanded = gzip.GzipFile(fileobj=cast(Any, counted), mode="rb")
    elif counted.head == _ZSTD:
        expanded = _zstd(counted)
    return io.BufferedReader(_Expanded(counted, expanded, limits), _CHUNK)


def _zstd(source: Readable) -> Readable:
    try:
        import zstandard
    except ImportError as exc:
        raise UnreadableError(Said("is zstd: install the extra zstd, or the package zstandard, to read it")) from exc
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    return cast(Readable, decompressor.stream_reader(cast(Any, source), read_across_frames=True))


def _zstd_errors() -> tuple[type[Exception], ...]:
    module = sys.modules.get("zstandard")
    return (module.ZstdError,) if module else ()


def _lines(stream: io.BufferedReader, longest: int, first: int) -> Iterator[tuple[int, bytes | UnreadableError]]:
    """Line number and line, without the empty ones; the rest of a line that is too long is passed over."""
    for number in itertools.count(first):
        line = stream.readline(longest + 1)
        if not line:
            return
        if len(line) > longest and not line.endswith(b"\n"):
            while (rest := stream.readline(_CHUNK)) and not rest.endswith(b"\n"):
                pass
            yield number, UnreadableError(Said("longer than {number} bytes", number=longest))
        elif line.strip():
            yield number, line.removeprefix(_BYTE_ORDER_MARK)


def _documents(stream: io.BufferedReader, longest: int) -> Iterator[tuple[int, bytes | UnreadableError]]:
    """One JSON document a line; or the whole file as one, when its first line is none but all lines together are."""
    lines = _lines(stream, longest, 1)
    number, line = next(lines, (0, b""))
    if isinstance(line, bytes) and line and not _is_json(line):
        whole = line + stream.read(longest)
        if len(whole) <= longest and _is_json(whole):
            yield number, whole
            return
        lines = _lines(io.BufferedReader(_Joined(whole, stream)), longest, number)
    elif line:
        yield number, line
    yield from lines


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


# --- measurements --------------------------------------------------------------------------------------------------


def measurements_of(data: bytes) -> Iterator[Measurement | UnreadableError]:
    """The measurements of one document: one, or a list of them."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        yield UnreadableError(Said("not JSON: {problem}", problem=text(str(exc))))
    except RecursionError:
        yield UnreadableError(Said("not a measurement: nested too deeply"))
    else:
        yield from map(_measurement, value if isinstance(value, list) else (value,))


def _measurement(value: Any) -> Measurement | UnreadableError:
    if not isinstance(value, dict):
        return UnreadableError(Said("not a measurement"))
    try:
        if "test_keys" in value:
            return from_ooni(value)
        measurement = msgspec.convert(value, Measurement)
    except OoniError as exc:
        return UnreadableError(exc.args[0])
    except (msgspec.ValidationError, RecursionError) as exc:
        return UnreadableError(Said("not a measurement: {problem}", problem=text(str(exc))))
    if any(moment is not None and moment.tzinfo is None for moment in _moments(measurement)):
        return UnreadableError(Said("not a measurement: a time without its zone"))
    return measurement


def _moments(measurement: Measurement) -> Iterator[datetime | None]:
    yield from (measurement.started, measurement.conditions.checked)
    yield from (control.started for control in measurement.controls)
    chains: Iterable[tuple[Certificate, ...]] = (
        shaken.chain for seen in (measurement, *measurement.controls) for shaken in seen.tls
    )
    for certificate in itertools.chain.from_iterable(chains):
        yield from (certificate.not_before, certificate.not_after)


# --- what is printed -----------------------------------------------------------------------------------------------


def _show_json(measurement: Measurement) -> None:
    sys.stdout.buffer.write(to_json(measurement) + b"\n")


def _table() -> Show:
    """Lines under a heading, as they come; in colour on a terminal."""
    write = _terminal() if sys.stdout.isatty() else _plain
    w = here()
    write(_row(tuple(w.gettext(title) for title, _ in _COLUMNS)), "bold")
    return lambda measurement: write(_row(_cells(measurement, w)), _style(measurement))


def _terminal() -> Callable[[str, str], None]:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    return lambda line, style: console.print(Text(line, style), soft_wrap=True)


def _plain(line: str, style: str) -> None:
    sys.stdout.write(line + "\n")


def _row(cells: Sequence[str]) -> str:
    padded = (f"{text(cell, 200):<{width}}" for cell, (_, width) in zip(cells, _COLUMNS, strict=True))
    return "  ".join(padded).rstrip()


def _cells(measurement: Measurement, w: Words) -> tuple[str, ...]:
    verdict = measurement.verdict
    if verdict is None:
        return (measurement.site, _network(measurement.network), "", "", "", "")
    confidence = "-" if verdict.confidence is None else f"{verdict.confidence:.3f}"
    methods = ", ".join(verdict.methods) or "-"
    return (
        measurement.site,
        _network(measurement.network),
        w.status(verdict.status),
        methods,
        confidence,
        verdict.rule,
    )


def _network(network: Network) -> str:
    known = (f"AS{network.asn}" if network.asn else None, network.isp or network.country)
    return " ".join(word for word in known if word) or "-"


def _style(measurement: Measurement) -> str:
    return _STYLES[measurement.verdict.status] if measurement.verdict else ""
