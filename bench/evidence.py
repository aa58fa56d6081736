"""Evidence bundles: how large they are, how long they take, and whether a flipped byte is found in each file.

    python bench/evidence.py [--measurements 1000] [--no-pdf]

The store is filled with blocked measurements as tests make them (plain-http block page and false certificate, three
attempts each, one control), all of one event.
"""

import argparse
import contextlib
import io
import sys
import tempfile
import time
import zipfile
from datetime import timedelta
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from evidence_cases import BEGAN, EVERY, blocked_page, false_certificate, files_of, made, of_a_volunteer, the_event

from monitor.evidence import verify
from monitor.evidence.errors import NotABundle
from monitor.store import Store


def filled(home: Path, count: int) -> None:
    """One long event."""
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        for start in range(0, count, 500):
            numbers = range(start, min(start + 500, count))
            kinds = (blocked_page(), false_certificate())
            store.append([of_a_volunteer(kinds[number % 2], number) for number in numbers])
        ended = BEGAN + EVERY * count
        store.save_events(
            [the_event(ended=ended, ended_range=(ended - timedelta(minutes=1), ended), measurements=count)]
        )


def found(folder: Path, name: str) -> bool:
    """Does `verify` say that this file was touched?"""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            code = verify.run(folder, None)
    except NotABundle as exc:
        return name in str(exc)
    return code == 1 and any(line.startswith("touched: ") and name in line for line in out.getvalue().splitlines())


def flipped(folder: Path, times: int) -> tuple[int, int]:
    """How many flips there were, and how many of them were found in the right file."""
    chance, done, seen = Random(1), 0, 0
    for name, content in files_of(folder).items():
        for _ in range(times):
            changed = bytearray(content)
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
            (folder / name).write_bytes(changed)
            done, seen = done + 1, seen + found(folder, name)
        (folder / name).write_bytes(content)
    return done, seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measurements", type=int, default=1000)
    parser.add_argument("--no-pdf", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        home = Path(folder)
        filled(home, given.measurements)
        began = time.process_time()
        bundle = made(home, "3fa9", "b.zip", pdf=not given.no_pdf)
        took = time.process_time() - began
        with zipfile.ZipFile(bundle) as archive:
            archive.extractall(home)
            unpacked_in = home / archive.namelist()[0].partition("/")[0]
            sizes = {
                info.filename.partition("/")[2]: (info.file_size, info.compress_size) for info in archive.infolist()
            }
        began = time.process_time()
        verify.run(bundle, None)
        checking = time.process_time() - began
        done, seen = flipped(unpacked_in, 3)
    packed, unpacked = sum(small for _, small in sizes.values()), sum(large for large, _ in sizes.values())
    say(
        f"{given.measurements} measurements: {packed / 1e6:.2f} MB, unpacked {unpacked / 1e6:.2f} MB in {len(sizes)} files"
    )
    for name, (large, small) in sorted(sizes.items(), key=lambda one: -one[1][1])[:6]:
        say(f"  {name:<24} {large:>12} bytes, {small:>10} in the zip")
    say(f"made in {took:.1f} s of processor (without the processes that draw), verified in {checking:.2f} s")
    say(f"{done} bytes flipped, three in each file: {seen} found in the right file")


def say(line: str) -> None:
    """One line."""
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
