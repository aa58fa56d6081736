"""The files of a bundle, written one after another into a folder; the manifest and its signature last."""

import hashlib
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec
from markupsafe import Markup

from monitor import __version__, redaction
from monitor.evidence import drawing, manifest
from monitor.evidence.chart import Row, timeline_chart
from monitor.evidence.contents import MOST_BYTES
from monitor.evidence.drawing import NotDrawn
from monitor.evidence.errors import NotWritten
from monitor.evidence.exhibits import BlockPage, Exhibits, certificate_file, page_file
from monitor.evidence.gathering import Findings, Gathered
from monitor.evidence.instructions import instructions
from monitor.evidence.manifest import DIGEST, PUBLIC_KEY, SIGNATURE, SUMS
from monitor.evidence.minisign import SecretKey, sign
from monitor.evidence.report import Told, report
from monitor.evidence.verify import digest_file
from monitor.explain import worded_measurement
from monitor.language import Words, here
from monitor.messages import Said
from monitor.models import Event, Measurement, Verdict, to_json
from monitor.redaction import Redaction, is_withheld
from monitor.show import printable
from monitor.verdict import RULES_VERSION, judge
from monitor.wording import network_words, told

FORMAT = 1
ROWS_OF_A_CHART = 12  # in the report, where one has to fit on a page
MOST_PICTURES = 12  # each takes some seconds


class Compilation:
    """Of one event, or one incident."""

    def __init__(self, gathered: Gathered, folder: Path, words: Words, key: SecretKey) -> None:
        self._folder, self._words, self._key = folder, words, key
        self._behind, self._cut_at, about = gathered.behind, gathered.until, gathered.about
        self._about = redaction.event(about) if isinstance(about, Event) else redaction.incident(about)
        self._redaction, self._findings, self._exhibits = Redaction(), Findings(), Exhibits()
        self._undrawn: dict[str, str] = {}
        self._left = 0

    def write(self, *, pdf: bool, most: int = MOST_BYTES) -> None:
        """All files, of at most so many bytes together, else NotWritten."""
        self._left = most
        self._measurements()
        for page in self._exhibits.pages.values():
            self._put(f"pages/{page.name}.txt", page_file(page, self._words))
        for seen in self._exhibits.certificates.values():
            self._put(f"certificates/{seen.digest[:16]}.pem", certificate_file(seen, self._words))
        self._facts()
        self._readable(pdf=pdf)
        self._put(PUBLIC_KEY, self._key.public.file)
        self._put("VERIFY.txt", instructions(self._key.public.text))
        self._sign()

    # --- facts -------------------------------------------------------------------------------------------------------

    def _measurements(self) -> None:
        names = ("measurements.jsonl", "verdicts.jsonl", "withheld.jsonl")
        full, verdicts, withheld = ((self._folder / name).open("xb") for name in names)
        known: set[str] = set()
        with full, verdicts, withheld:
            for one in (one for behind in self._behind for one in behind):
                if one.id not in known:  # two events of one site may meet at one measurement
                    known.add(one.id)
                    self._measurement(one, full, verdicts, withheld)
        if not self._findings.withheld:
            (self._folder / "withheld.jsonl").unlink()

    def _measurement(self, one: Measurement, full: BinaryIO, verdicts: BinaryIO, withheld: BinaryIO) -> None:
        if is_withheld(one, judge(one)):
            row = redaction.withheld(one)
            self._findings.withhold(row.started)
            self._line(withheld, to_json(row))
            return
        published = self._redaction.measurement(one)
        again = judge(published)
        same = self._findings.add(published, again)
        self._exhibits.add(published)
        self._line(full, to_json(worded_measurement(published)))
        self._line(verdicts, msgspec.json.encode(_both(published, again, same=same)))

    def _facts(self) -> None:
        kind = "event" if isinstance(self._about, Event) else "incident"
        self._put(f"{kind}.json", msgspec.json.format(msgspec.json.encode(told(self._about))).decode() + "\n")
        found = self._findings
        summary = {
            "format": FORMAT, "software": f"almenara {__version__}", "rules_version": RULES_VERSION, "about": kind,
            "id": self._about.id, "revision": self._about.revision, "language": self._words.code,
            "as_of": found.as_of, "until": self._cut_at,
            "measurements": found.published, "statuses": dict(sorted(found.statuses.items())),
            "withheld": found.withheld, "probes": len(found.probes),
            "judged_by_rules_versions": {str(version): count for version, count in sorted(found.rules_versions.items())},
            "measured_by": dict(sorted(found.software.items())),
            "judged_again": {"same": found.same, "different": found.different},
        }  # fmt: skip
        self._put("summary.json", msgspec.json.format(msgspec.json.encode(summary)).decode() + "\n")

    # --- for people --------------------------------------------------------------------------------------------------

    def _readable(self, *, pdf: bool) -> None:
        rows = self._rows()
        self._put("timeline.svg", str(self._chart(rows)))
        html = report(
            Told(
                about=self._about, events=self._published_events(), findings=self._findings, exhibits=self._exhibits,
                charts=[self._chart(rows[i : i + ROWS_OF_A_CHART]) for i in range(0, len(rows), ROWS_OF_A_CHART)],
                pictures=self._pictures(), undrawn=self._undrawn, key=self._key.public.text, until=self._cut_at,
                gone=self._gone(), opened=self._opened(),
            ),
            self._words,
        )  # fmt: skip
        self._put("report.html", html)
        if pdf:
            self._drawn("pdf", html, "report.pdf")

    def _published_events(self) -> Sequence[Event]:
        return (self._about,) if isinstance(self._about, Event) else self._about.events

    def _gone(self) -> dict[str, int]:
        """Event -> how many measurements it rested on when it was told, where fewer of them are left."""
        if self._cut_at is not None:
            return {}
        both = [(behind.told, behind.event) for behind in self._behind]
        return {now.id: then.measurements for then, now in both if then.measurements > now.measurements}

    def _opened(self) -> dict[str, tuple[datetime, int]]:
        """Event -> since when its newest results open, and how many, where its end is not told yet."""
        return {behind.event.id: behind.opens for behind in self._behind if behind.opens is not None}

    def _rows(self) -> list[Row]:
        until = self._until()
        return [
            Row(label=_label(event, self._words), event=event, points=behind.around(until))
            for event, behind in zip(self._published_events(), self._behind, strict=True)
        ]

    def _until(self) -> datetime:
        return max((behind.last for behind in self._behind if behind.last), default=self._about.started)

    def _chart(self, rows: Sequence[Row]) -> Markup:
        return timeline_chart(rows, self._until(), self._words)

    def _pictures(self) -> dict[str, bytes]:
        pages: list[BlockPage] = list(self._exhibits.pages.values())[:MOST_PICTURES]
        drawn = {page.name: self._drawn("picture", page.source, f"pages/{page.name}.png") for page in pages}
        return {name: picture for name, picture in drawn.items() if picture}

    def _drawn(self, what: str, html: str, name: str) -> bytes:
        try:
            content = drawing.drawn(what, html)
        except NotDrawn as exc:
            self._undrawn[name] = self._words.text(str(exc))
            words = here()
            sys.stderr.write("almenara: " + words.text("no {file}: {why}", file=name, why=words.text(str(exc))) + "\n")
            return b""
        self._put_bytes(name, content)
        return content

    # --- files -------------------------------------------------------------------------------------------------------

    def _put(self, name: str, text: str) -> None:
        self._put_bytes(name, text.encode("utf-8", "replace"))

    def _line(self, file: BinaryIO, line: bytes) -> None:
        self._take(len(line) + 1)
        file.write(line + b"\n")

    def _take(self, size: int) -> None:
        """So much of what a bundle may have."""
        self._left -= size
        if self._left < 0:
            raise NotWritten(Said("it is larger than a bundle may be: --until cuts it"))

    def _put_bytes(self, name: str, content: bytes) -> None:
        self._take(len(content))
        file = self._folder / name
        file.parent.mkdir(exist_ok=True)
        with file.open("xb") as opened:
            opened.write(content)

    def _sign(self) -> None:
        files = [path for path in self._folder.rglob("*") if path.is_file()]
        sums = manifest.written({path.relative_to(self._folder).as_posix(): _digest(path) for path in files})
        about = "event" if isinstance(self._about, Event) else "incident"
        name = f"{about} {printable(self._about.id, 64)} revision {self._about.revision}"
        signature = sign(self._key, sums, f"almenara {name}, signed {datetime.now(UTC):%Y-%m-%dT%H:%MZ}")
        self._put_bytes(SUMS, sums)
        self._put_bytes(DIGEST, digest_file(sums))
        self._put(SIGNATURE, signature.file)


def _both(one: Measurement, again: Verdict, *, same: bool) -> dict[str, object]:
    """The verdict as it was given, and as this version gives it."""
    then = one.verdict
    assert then is not None
    fields = ("status", "methods", "confidence", "confirmed", "rule", "rules_version")
    told_then, told_now = ({field: getattr(verdict, field) for field in fields} for verdict in (then, again))
    return {"id": one.id, "started": one.started, "then": told_then, "now": told_now, "same": same}


def _label(event: Event, words: Words) -> str:
    return " · ".join(filter(None, (printable(event.site or "", 80), network_words(event.network, words))))


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
