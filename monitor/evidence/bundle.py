"""`almenara report`: everything behind an event, or an incident, as one signed folder or zip.

The same event at the same revision gives the same bytes, but for the signature, which has a time.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from rich.console import Console

from monitor import system_errors
from monitor.config import Config
from monitor.evidence import keys
from monitor.evidence.compilation import Compilation
from monitor.evidence.contents import MOST_BYTES
from monitor.evidence.errors import NotWritten
from monitor.evidence.gathering import gathered
from monitor.evidence.zipped import folder_name, pack
from monitor.language import Words, available, here, words
from monitor.messages import Said
from monitor.models import Event, Incident
from monitor.moments import moment
from monitor.publish.behind import named
from monitor.publish.options import read
from monitor.show import printable
from monitor.store import Store, locate
from monitor.wording import instant

_NO_TIME = 315_532_800  # 1980, as in a zip


def run(
    config: Config, event: str, *, output: Path | None, language: str | None, pdf: bool, until: str | None,
    key: Path | None,
) -> int:  # fmt: skip
    """Write the bundle, print its name, and return 0. Raises StoreError, EventUnknown, NotUnderstood, EvidenceError."""
    said = here() if language is None else words(read("--language", language, _language) or "")
    before = read("--until", until, partial(moment, now=datetime.now(UTC)))
    with Store.open(locate(config.store), create=False) as store:
        known: list[Event | Incident] = [*store.events(), *store.incidents()]
        about = named(known, event)
        output = output or Path(f"{folder_name(about.id)}.zip")
        if output.exists():
            raise NotWritten(Said("{file} is there already: --output names another", file=output))
        with _waiting():
            write(store, about, output, said, key or keys.place(), pdf=pdf, before=before)
    sys.stdout.write(f"{output}\n")
    return 0


def write(
    store: Store, about: Event | Incident, output: Path, said: Words, key: Path, *, pdf: bool = True,
    before: datetime | None = None, most: int = MOST_BYTES,
) -> None:  # fmt: skip
    """The bundle, a zip or a folder by its name, of at most so many bytes unpacked. before: only measurements begun then.

    Raises StoreError, EvidenceError.
    """
    if _withdrawn(about):
        raise NotWritten(Said("{id} was withdrawn: the measurements no longer show it", id=printable(about.id, 64)))
    found = gathered(store, about, before)
    if found is None:
        told = instant(before) if before else ""
        raise NotWritten(Said("nothing was known of it before {time}: --until: expected a later one", time=told))
    signing = keys.own(key)
    try:
        _made(
            output,
            folder_name(about.id),
            lambda folder: Compilation(found, folder, said, signing).write(pdf=pdf, most=most),
        )
    except OSError as exc:
        raise NotWritten(Said("{file}: {problem}", file=output, problem=system_errors.problem(exc))) from None


@contextmanager
def _waiting() -> Iterator[None]:
    """A word on a terminal that it takes a while."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield
        return
    with console.status(here().text("collecting the evidence")):
        yield


def _language(code: str) -> str:
    if code not in available():
        raise ValueError(
            Said("expected one of {known}; got {value}", known=", ".join(available()), value=printable(code, 20))
        )
    return code


def _withdrawn(about: Event | Incident) -> bool:
    """Nobody believes in it any more; it is still in the store."""
    return not about.events if isinstance(about, Incident) else about.confidence <= 0


def _made(output: Path, name: str, fill: Callable[[Path], None]) -> None:
    """The folder, or the zip of it, under its name when it is complete. Its owner's alone: nobody has published it yet.

    name: of the folder in the zip, whatever that is called.
    """
    scratch = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        folder = scratch / name
        folder.mkdir(mode=0o700)
        fill(folder)
        if output.suffix != ".zip":
            for path in (folder, *folder.rglob("*")):  # as in a zip: an archive that somebody makes of it tells no more
                os.utime(path, (_NO_TIME, _NO_TIME))
            folder.rename(output)
            return
        packed = scratch / "packed"
        pack(folder, packed)
        os.link(packed, output)  # unlike renaming, not over a file that came into being meanwhile
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
