"""A bundle as its reader meets it: an end that is not told yet, a whole incident at a glance, no broken words, Spanish."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from evidence_cases import (
    BEGAN,
    CANTV,
    EVENT,
    EVERY,
    SITE_NAME,
    blocked_page,
    files_of,
    fill,
    history,
    made,
    of_a_volunteer,
    opens,
    plain,
    said,
    the_event,
)

from monitor.evidence import confined
from monitor.evidence.exhibits import Exhibits, certificate_file
from monitor.evidence.minisign import new_key
from monitor.evidence.whole import named, whole
from monitor.language import words
from monitor.models import Event, Incident, Network
from monitor.store import Store

INCIDENT = "9c0ffee000000001"
MOVISTAR = Network(asn=6306, isp="Telefonica Venezuela Movistar", country="VE", source="observed")
LONG = "www.armandoinformacion-noticias.example"


def stored_incident(home: Path) -> Sequence[Event]:
    """Two sites on two networks; one event has ended, the others open in their newest results."""
    ones, events = [], []
    for number, (site, network) in enumerate((site, net) for site in (SITE_NAME, LONG) for net in (CANTV, MOVISTAR)):
        ones += [
            msgspec.structs.replace(
                one,
                id=f"{one.id}-{number}",
                url=f"https://{site}/",
                site=site,
                network=network,
                probe=f"{number % 2}{one.probe}",
            )
            for one in history()
        ]
        going_on = {"ended": None, "ended_range": None} if number else {}
        event = the_event(site=site, network=network, confidence=0.99 - number / 1000, **going_on)
        events.append(msgspec.structs.replace(event, id=f"{number}{event.id[1:]}"))
    events[3] = msgspec.structs.replace(events[3], started_range=(None, BEGAN))
    incident = Incident(id=INCIDENT, revision=2, state="updated", started=BEGAN, ended=None, events=tuple(events))
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append(ones)
        store.save_events(events, [incident])
    return events


# --- what goes on ----------------------------------------------------------------------------------------------------


def test_a_report_says_that_the_newest_results_open_before_the_end_is_told(home: Path) -> None:
    with Store.open(f"sqlite:{home / 'almenara.db'}") as store:
        store.append([of_a_volunteer(blocked_page(), number) for number in range(6)])
        store.append([of_a_volunteer(opens(), number) for number in range(6, 9)])
        store.save_events([the_event(ended=None, ended_range=None)])
    text = plain(files_of(made(home, EVENT, "now"))["report.html"])
    assert (
        "open in the newest 3 results in a row, since 15 Jan 2018, 14:05 UTC; the end is told when it is sure" in text
    )
    assert "not over when last measured" not in text
    assert "was blocked on CANTV AS8048 VE, and opens in the newest results" in text
    earlier = plain(files_of(made(home, EVENT, "then", until=(BEGAN + 6 * EVERY).isoformat()))["report.html"])
    assert "not over when last measured" in earlier


# --- an incident -----------------------------------------------------------------------------------------------------


def test_an_incident_is_told_as_a_whole_and_then_in_a_line_for_each_event(home: Path) -> None:
    stored_incident(home)
    text = plain(files_of(made(home, INCIDENT, "b"))["report.html"])
    short = text[text.index("In short") : text.index("Timeline", text.index("In short"))]
    whole_of_it, _, events = short.partition("Event Since Until How sure Measurements")
    for told in (
        f"Sites (2) {SITE_NAME} and {LONG}",
        "Networks (2) CANTV AS8048 VE and Telefonica Venezuela Movistar AS6306 VE",
        "Since 15 Jan 2018, 13:05 UTC (09:05 local time); some of it was so when first measured",
        "not over when last measured; events that have ended: 1 of 4; events that are open in their newest results: 3 of 4",
        "http.blockpage", "How sure 98.7% to 99%, by event", "On what it rests 68 measurements of 4 probes",
    ):  # fmt: skip
        assert told in whole_of_it, told
    assert events.count("open since 15 Jan 2018, 16:05 UTC (newest results: 7)") == 3
    assert events.count("15 Jan 2018, 13:05 UTC or earlier") == 1
    assert events.count(" 17") == events.count("blocked on") == 4
    assert "last seen open" not in events


def test_of_many_sites_the_first_are_named() -> None:
    events = [the_event(site=f"s{number:02}.example") for number in range(15)]
    together = whole(events, (), words("en"))
    assert named(together.sites, words("en")).endswith("s11.example and 3 more")
    assert (together.ended, together.over, together.country) == (BEGAN + 18 * EVERY, 15, "VE")


def test_no_word_is_broken_in_a_column_of_the_pdf(home: Path) -> None:
    pdfium = pytest.importorskip("pypdfium2", reason="the extra report is not installed")
    pytest.importorskip("weasyprint", reason="the extra report is not installed")
    if not confined.possible():
        pytest.skip("needs Linux on a 64-bit machine")
    stored_incident(home)
    content = files_of(made(home, INCIDENT, "b", language="es", pdf=True))["report.pdf"]
    document = pdfium.PdfDocument(io.BytesIO(content))
    lines = [line.strip() for page in document for line in page.get_textpage().get_text_bounded().splitlines()]
    document.close()
    found = " ".join(lines).split()
    for word in ("bloqueado", "Veredicto", "http.blockpage", "tls.certificate", "blocked_http", "aceptado", "Certeza",
                 "Mediciones", "Mostrado", "certificate"):  # fmt: skip
        assert word in found, word
    # A piece of a word that went on in the next line is one that nobody would write.
    pieces = {word[:n] for word in ("bloqueado", "Veredicto", "http.blockpage", "tls.certificate", "aceptado")
              for n in range(len(word) - 3, len(word))}  # fmt: skip
    assert pieces & set(found) == set()


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spanish(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle in Spanish, which is not to be touched."""
    home = tmp_path_factory.mktemp("spanish")
    fill(f"sqlite:{home / 'almenara.db'}")
    return made(home, EVENT, "bundle", language="es")


def test_counts_agree_with_their_words(spanish: Path) -> None:
    text = plain(files_of(spanish)["report.html"])
    assert re.search(r"\( accesible : \d+, bloqueado : 17\)", text)
    assert re.search(r"http://elpitazo\. example/ , descargada 36 veces por 12 mediciones: CANTV", text)


def test_all_files_for_people_speak_the_language_of_the_bundle(spanish: Path) -> None:
    files = files_of(spanish)
    page = files["pages/page-01.txt"].decode()
    assert "Vista: descargada 36 veces por 12 mediciones\nRedes: CANTV\n" in page
    assert [line for line in page.splitlines() if line.startswith("---")] == [
        "--- encabezados ---", "--- palabras ---", "--- código fuente ---",
    ]  # fmt: skip
    certificates = [content.decode() for name, content in files.items() if name.endswith(".pem")]
    for text in certificates:
        assert "Mostrado a las sondas: " in text
        assert not re.search(r"^(Subject|Issuer|Names|Valid|Shown|Asked|Verified)", text, re.MULTILINE)
    assert any("Verificación: aceptado" in text for text in certificates)


@pytest.mark.parametrize(("code", "once"), [("en", "probes: 1 time\n"), ("es", "sondas: 1 vez\n")])
def test_what_was_shown_once_was_shown_one_time(code: str, once: str) -> None:
    exhibits = Exhibits()
    exhibits.add(of_a_volunteer(opens(), 0))
    (seen,) = exhibits.certificates.values()
    seen.here = 1
    assert once in certificate_file(seen, words(code))


# --- verify ----------------------------------------------------------------------------------------------------------


def spoiled(folder: Path, how: str) -> str | None:
    """Do that to a bundle; the key that the reader names."""
    sums, signature = folder / "SHA256SUMS", folder / "SHA256SUMS.minisig"
    if how == "a letter of a name":
        sums.write_bytes(sums.read_bytes().replace(b"  report.html", b"  seport.html"))
    elif how == "no list":
        sums.write_bytes(b"nonsense\n")
    elif how == "no end":
        sums.write_bytes(sums.read_bytes().rstrip())
    elif how == "signature":
        signature.write_text("nonsense")
    elif how == "no signature":
        signature.unlink()
    elif how == "comment":
        signature.write_text(signature.read_text().replace("revision", "revisiom"))
    elif how == "stamp":
        (folder / "SHA256SUMS.ots").write_text("nonsense")
    return new_key().public.text if how == "key" else None


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("a letter of a name", "touched: SHA256SUMS: ni la firma ni el resumen corresponden"),
        ("no list", "touched: SHA256SUMS no está como se escribió: línea 1"),
        ("no end", "touched: SHA256SUMS no está como se escribió: no termina con una línea, o es demasiado largo"),
        ("signature", "touched: SHA256SUMS.minisig o signing.pub: se espera una firma de minisign"),
        ("no signature", "missing: SHA256SUMS.minisig, así que nadie responde por él"),
        ("comment", "touched: SHA256SUMS o SHA256SUMS.minisig: la firma no corresponde"),
        ("stamp", "touched: SHA256SUMS.ots, que no es un sello de tiempo de este paquete"),
        ("key", r"firmado con otra clave, [0-9A-F]{16}, y no con [0-9A-F]{16}"),
    ],
)
def test_what_is_wrong_is_told_in_the_readers_language(
    spanish: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, told: str
) -> None:
    monkeypatch.setenv("LC_ALL", "es_VE.UTF-8")
    folder = tmp_path / "bundle"
    for name, content in files_of(spanish).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    code, lines = said(folder, spoiled(folder, how))
    assert code == 1
    assert re.fullmatch(told, lines[0]), lines


def test_a_list_that_was_touched_is_told_first_and_its_word_is_not_taken(spanish: Path, tmp_path: Path) -> None:
    for name, content in files_of(spanish).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    spoiled(tmp_path, "a letter of a name")
    assert said(tmp_path)[1] == [
        "touched: SHA256SUMS: neither the signature nor the digest fits it",
        "What follows is by a list of files that nothing vouches for, and may be wrong:",
        "missing: seport.html",
        "added: report.html",
        "This bundle is not as it was signed.",
    ]
