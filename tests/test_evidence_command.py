"""`almenara report` and `verify` as they are typed: what they print, and how each mistake is told in one line."""

import stat
from pathlib import Path

import pytest
from evidence_cases import EVENT, almenara, blocked_page, made, of_a_volunteer, the_event

from monitor.evidence.errors import NotWritten
from monitor.publish.behind import EventUnknown
from monitor.publish.options import NotUnderstood
from monitor.store import Store


@pytest.fixture
def operator(home: Path) -> Path:
    """A home with a configuration and a small store."""
    (home / "probes.yaml").write_text("store: sqlite:almenara.db\n")
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([of_a_volunteer(blocked_page(), number) for number in range(2)])
        store.save_events([the_event()])
    return home


def test_report_and_verify_from_the_command_line(operator: Path) -> None:
    done = almenara(operator, "report", "3fa9", "--no-pdf")
    assert (done.returncode, done.stdout) == (0, f"almenara-{EVENT}.zip\n")
    assert stat.S_IMODE((operator / ".config" / "almenara" / "signing.key").stat().st_mode) == 0o600
    checked = almenara(operator, "verify", f"almenara-{EVENT}.zip")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.splitlines()[-1] == "That is this installation's own key."
    again = almenara(operator, "report", "3fa9", "--no-pdf")
    assert (again.returncode, again.stderr) == (
        1,
        f"almenara: almenara-{EVENT}.zip is there already: --output names another\n",
    )


def test_without_the_extra_there_is_html_all_the_same(operator: Path) -> None:
    done = almenara(operator, "report", "3fa9", "--output", "b", before="import sys; sys.modules['weasyprint'] = None")
    assert (done.returncode, done.stdout) == (0, "b\n")
    assert done.stderr.splitlines() == [
        "almenara: no pages/page-01.png: the extra report is missing: pip install 'almenara[report]'",
        "almenara: no report.pdf: the extra report is missing: pip install 'almenara[report]'",
    ]
    assert (operator / "b" / "report.html").exists()
    assert almenara(operator, "verify", "b").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["report", "beef"], 1, "almenara: no event has the id beef: `almenara events` lists them"),
        (["report", "3fa9", "--language", "xx"], 2, "almenara: --language: expected one of en, es; got xx"),
        (["report", "3fa9", "--until", "soon"], 2, "almenara: --until: expected a date"),
        (["report", "3fa9", "--output", "none/b.zip"], 1, "almenara: none/b.zip: no such file or directory"),
        (["report", "3fa9", "--key", "probes.yaml"], 1, "almenara: probes.yaml can be read by others"),
        (["verify", "none.zip"], 2, "almenara: Invalid value for 'BUNDLE'"),
        (["verify", "probes.yaml"], 1, "almenara: probes.yaml: it is no zip, or a damaged one"),
        (["verify", "."], 1, "almenara: .: it has no SHA256SUMS, so it is no bundle"),
    ],
)
def test_what_is_wrong_is_one_line(operator: Path, arguments: list[str], code: int, said: str) -> None:
    done = almenara(operator, *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    assert done.stderr.startswith(said)
    assert not [path for path in operator.iterdir() if path.name.startswith(".b") or path.name.endswith(".zip")]


def test_errors_have_types_of_their_own(operator: Path) -> None:
    for wrong, error in (({"output": "almenara.db"}, NotWritten), ({"language": "xx"}, NotUnderstood)):
        with pytest.raises(error):
            made(operator, EVENT, **({"output": "b"} | wrong))
    with pytest.raises(EventUnknown):
        made(operator, "beef", "b")
