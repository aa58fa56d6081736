"""What was acknowledged is on disk: shown by a trace of the system calls, and by killing the writer at random."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from monitor.store import Store

ROOT = Path(__file__).parent.parent
ROUNDS = 12
# Appends measurements without end, a few at a time; after each append it writes their ids, in one write.
WRITER = """
    import os, sys
    from random import Random
    from monitor.store import Store
    from store_cases import drawn

    url, name, most = sys.argv[1:]
    chance = Random(name)
    number = 0
    with Store.open(url) as store:
        while number < int(most):
            batch = [drawn(chance, number + i) for i in range(chance.choice((1, 1, 3, 20)))]
            number += len(batch)
            import msgspec
            batch = [msgspec.structs.replace(one, id=f"{name}-{one.id}") for one in batch]
            store.append(batch)
            os.write(1, "".join(f"{one.id}\\n" for one in batch).encode())
"""


def writer(url: str, name: str, most: int = 10**9, *, under: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    command = [*under, sys.executable, "-c", textwrap.dedent(WRITER), url, name, str(most)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths})


def test_the_log_is_synced_before_anything_is_acknowledged(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed (Debian: strace)")
    trace, file = tmp_path / "trace", tmp_path / "new" / "store.db"
    file.parent.mkdir()
    calls = "trace=write,pwrite64,writev,pwritev,fsync,fdatasync,sync_file_range,openat"
    under = (strace, "-f", "-y", "-o", str(trace), "-e", calls)
    with writer(f"sqlite:{file}", "traced", 100, under=under) as child:
        assert child.stdout is not None
        acknowledged = child.stdout.read().split()
    if child.returncode and not acknowledged and "ptrace" in trace.read_text():
        pytest.skip("strace may not trace here")
    assert child.returncode == 0
    assert len(acknowledged) >= 100

    wal = re.escape(f"<{file}-wal>")
    steps = []
    for line in trace.read_text().splitlines():
        if re.search(rf"pwrite64\(\d+{wal}", line):
            steps.append("written")
        elif re.search(rf"(fsync|fdatasync)\(\d+{wal}\) += 0", line):
            steps.append("synced")
        elif re.search(r"write\(1<.*traced-", line):
            steps.append("acknowledged")
    *appends, _ = " ".join(steps).split("acknowledged")
    assert len(appends) >= 10
    for append in appends:
        assert append.count("written") >= 1
        assert append.rindex("synced") > append.rindex("written")
    # The folder's entry as well: without it there is no file to find the log of.
    assert re.search(rf"(fsync|fdatasync)\(\d+<{re.escape(str(file.parent))}>\) += 0", trace.read_text())


def test_kill_9_loses_nothing_that_was_acknowledged(new_store_url: str) -> None:
    chance = Random()
    acknowledged: list[str] = []
    for number in range(ROUNDS):
        with writer(new_store_url, f"w{number}") as child:
            assert child.stdout is not None
            first = child.stdout.readline()
            assert first
            time.sleep(chance.random() * 0.2)  # a random moment of its work
            child.kill()
            acknowledged += (first + child.stdout.read()).decode().split()
    with Store.open(new_store_url, create=False) as store:
        found = {point.id for point in store.points()} | {one.id for one in store.measurements()}
        assert len(acknowledged) > ROUNDS
        assert set(acknowledged) - found == set()
        # What was not acknowledged is there whole, or not at all.
        measurements = list(store.measurements())
        assert len(measurements) == store.count() <= len(acknowledged) + 20 * ROUNDS
        judged = Counter((one.vantage, one.verdict.status) for one in measurements if one.verdict)
        assert store.totals() == judged
