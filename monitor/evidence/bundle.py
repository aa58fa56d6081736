"""`almenara report`: everything behind an event, or an incident, as one signed folder or zip.

The same event at the same revision gives the same bytes, but for the signature, which has a time.
"""

import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from rich.console import Console

from monitor.config import Config
from monitor.evidence import keys
from monitor.evidence.compilation import Compilation
from monitor.evidence.contents import FILE_MODE, FIXED_TIME, UNIX
from monitor.evidence.errors import NotWritten
from monitor.language import available, here, words
from monitor.models import Event, Incident
from monitor.moments import moment
from monitor.publish.behind import named
from monitor.publish.options import read
from monitor.show import printable
from monitor.store import Store, locate


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
        if _withdrawn(about):
            raise NotWritten(f"{printable(about.id, 64)} was withdrawn: the measurements no longer show it")
        output = output or Path(f"{_folder_name(about)}.zip")
        if output.exists():
            raise NotWritten(f"{output} is there already: --output names another")
        signing = keys.own(key or keys.place())
        try:
            with _waiting():
                _made(
                    output, lambda folder: Compilation(store, about, folder, said, signing).write(pdf=pdf, until=before)
                )
        except OSError as exc:
            raise NotWritten(f"{output}: {(exc.strerror or type(exc).__name__).lower()}") from None
    sys.stdout.write(f"{output}\n")
    return 0


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
        raise ValueError(f"expected one of {', '.join(available())}, got {code}")
    return code


def _withdrawn(about: Event | Incident) -> bool:
    """Nobody believes in it any more; it is still in the store."""
    return not about.events if isinstance(about, Incident) else about.confidence <= 0


def _folder_name(about: Event | Incident) -> str:
    return f"almenara-{re.sub('[^A-Za-z0-9]', '-', about.id)[:64]}"


def _made(output: Path, fill: Callable[[Path], None]) -> None:
    """The folder, or the zip of it, under its name when it is complete. Its owner's alone: nobody has published it yet."""
    scratch = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        folder = scratch / output.name.removesuffix(".zip")
        folder.mkdir(mode=0o700)
        fill(folder)
        if output.suffix != ".zip":
            folder.rename(output)
            return
        packed = scratch / "packed"
        _pack(folder, packed)
        os.link(packed, output)  # unlike renaming, not over a file that came into being meanwhile
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _pack(folder: Path, packed: Path) -> None:
    with (
        open(os.open(packed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}", FIXED_TIME)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, UNIX, FILE_MODE
            with path.open("rb") as source, archive.open(entry, "w") as target:
                shutil.copyfileobj(source, target)
