"""The terminal speaks Spanish where its locale does; what programs read is the same in every language."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console
from store_cases import BEGAN, SITES, event, small, verdict

from monitor import check, classify, detect, journal, lists
from monitor.changes import Change, Changes
from monitor.config import Config, parse
from monitor.journal import open_journal, say, say_change, say_verdict
from monitor.language import ENGLISH, words
from monitor.live import View, screen
from monitor.models import Event, Kind, Status, to_json
from monitor.publish import events
from monitor.show import Table
from monitor.store import Store, locate
from monitor.wording import event_text, headline

ROOT = Path(__file__).parent.parent
SPANISH = words("es")
NOW = BEGAN + timedelta(hours=3)
BLOCKED = verdict(Status.BLOCKED, ("dns.nxdomain",), rule="blocked_dns", reasons=(
    {"id": "blocked_dns"},
    {"id": "resolver_denies", "resolver": "200.44.32.12", "failure": "dns_nxdomain_error", "name": SITES[0], "sources": 3},
))  # fmt: skip


@pytest.fixture
def in_spanish(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal in Caracas."""
    monkeypatch.setenv("LC_ALL", "es_VE.UTF-8")
    monkeypatch.setattr(journal, "_language", ENGLISH)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What the journal says; as it was before, afterwards."""
    written: list[str] = []
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield written
    root.handlers[:] = before[0]
    root.setLevel(before[1])


@pytest.fixture
def stored(home: Path) -> Config:
    """A configuration whose store has an event and the measurements behind it."""
    config = Config(store=f"sqlite:{home / 'almenara.db'}")
    with Store.open(locate(config.store)) as store:
        store.append([small(number, verdict=BLOCKED) for number in range(5)])
        store.save_events([event(), event("b" * 16, kind=Kind.NETWORK_OUTAGE, site=None, methods=(), ended=NOW)], [])
    return config


def asked(**more: object) -> events.Filter:
    return events.wanted(**{"kind": None, "site": None, "since": None, "until": None} | more)


def table(*measurements) -> None:
    shown = Table()
    for measurement in measurements:
        shown.row(measurement)
    shown.close()


def test_measuring_shows_status_sureness_and_reasons(in_spanish, capsys):
    table(small(1, verdict=BLOCKED), small(2, verdict=None), small(3, verdict=verdict(Status.INCONCLUSIVE)))
    said = capsys.readouterr().out
    assert "✗ bloqueado     98 %" in said
    assert "al servidor de nombres del proveedor, 200.44.32.12, se le preguntó por" in said
    assert "dns_nxdomain_error" not in said
    assert "· sin juzgar" in said
    assert "? no concluyente" in said


def test_the_live_view(in_spanish):
    view = View(
        sites=[("https://a.example/", "a")], vantages={"cantv": "CANTV"}, cells={}, events=[event()],
        next_due=NOW + timedelta(seconds=42), running=4, used=12_300_000, budget=50_000_000, control="not asked yet",
        waiting=3, problem="disk full", absent={"usb": "no interface usb0 here"},
    )  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=160).print(screen(view, NOW, 40, 160, SPANISH))
    for part in (
        "www.lapatilla.com está bloqueado en CANTV AS8048 VE (dns.nxdomain) desde el 2018-01-15 13:05:00Z,",
        "con una certeza del 99 %",
        "3 sitios entraron en una lista y esperan a que los hayas visto: almenara sites", "almacén: disk full",
        "el punto de medición usb no está", "4 en curso", "lo próximo en 42 s", "12,3 MB hoy de 50 MB",
        "control: todavía no consultado", "sitio",
    ):  # fmt: skip
        assert part in out.getvalue()


@pytest.mark.parametrize(("width", "height"), [(20, 5), (40, 8), (80, 24)])
def test_the_live_view_fits_the_terminal_in_spanish_too(width, height):
    view = View(
        sites=[(f"https://s{i}.example/", f"s{i}.example") for i in range(30)], vantages={"cantv": "CANTV"}, cells={},
        events=[event(str(i)) for i in range(5)], next_due=NOW, running=4, used=12_300_000, budget=50_000_000,
        control="answers", waiting=3, problem="disk full " * 30, absent={"usb": "no interface usb0 here"},
    )  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=width).print(screen(view, NOW, height, width, SPANISH))
    lines = out.getvalue().splitlines()
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("ended", [None, NOW])
@pytest.mark.parametrize("probes", [1, 3])
def test_every_event_is_told_in_spanish(kind, ended, probes):
    site = None if kind in (Kind.NETWORK_OUTAGE, Kind.SILENCE) else SITES[0]
    one = event(kind=kind, site=site, ended=ended, probes=probes, methods=())
    for told in (headline, event_text):
        english, spanish = told(one), told(one, SPANISH)
        assert english != spanish
        assert not set(spanish.split()) & {"is", "was", "has", "been", "since", "from", "nothing", "sure", "for"}
        assert (site or "CANTV") in spanish


def test_the_list_of_events_and_one_of_them_in_full(stored, in_spanish, capsys):
    events.run(stored, None, asked(), json=False, incidents=False)
    said = capsys.readouterr().out
    for part in ("✗ bloqueado", "▽ red caída", "qué", "dónde", "sigue", "terminó", "14 por 3 sondas"):
        assert part in said
    events.run(stored, "3fa9", asked(), json=False, incidents=False)
    said = capsys.readouterr().out
    for part in (
        "✗ www.lapatilla.com está bloqueado en CANTV AS8048 VE", "seguía cuando se midió por última vez",
        "99 %: se basa en 5 mediciones de 1 sonda; en ese tiempo, bloqueado: 5", "Cómo", "Línea de tiempo", "Mediciones: 5",
        "El servidor de nombres dice que el nombre no existe.", "entre 12:55 y 13:05 UTC", "no medido",
    ):  # fmt: skip
        assert part in said
    events.run(stored, "b", asked(), json=False, incidents=False)
    assert "lo que no es el bloqueo de un sitio" in capsys.readouterr().out


def test_no_event_is_said_too(home, in_spanish, capsys):
    config = Config(store=f"sqlite:{home / 'almenara.db'}")
    with Store.open(locate(config.store)):
        pass
    events.run(config, None, asked(site="a.example"), json=False, incidents=False)
    said = capsys.readouterr()
    assert "Ningún evento" in said.out
    assert "ninguna medición guardada es del sitio a.example" in said.err


def test_the_check_and_the_list_of_sites(home, in_spanish, capsys):
    config = parse(
        "sites: ['https://a.example/']\nvantages: [{name: here, resolvers: ['127.0.0.1:1']}]\n"
        "control: {helpers: [], resolvers: []}\nmeasure: {timeout: 1s}\nnetwork: {lookup: false}\n", "probes.yaml"
    )  # fmt: skip
    assert check.run(config) == 1
    said = capsys.readouterr().out
    for part in (
        "La configuración es válida.", "Sitios: 1", "Consentimiento: `almenara measure` lo pide",
        "Punto de medición here: la conexión de esta misma máquina; servidores de nombres 127.0.0.1:1",
        "Una ronda es 1 medición", "nadie puede decir de quién es esta red", "No responde ningún control",
    ):  # fmt: skip
        assert part in said
    assert lists.run(config, approve=(), json=False) == 0
    said = capsys.readouterr().out
    assert "se vigila" in said
    assert "30 minutos" in said


def test_tables_of_files(tmp_path, in_spanish, capsys):
    file = tmp_path / "measurements.jsonl"
    file.write_bytes(b"".join(to_json(small(number, verdict=BLOCKED)) + b"\n" for number in range(40)))
    classify.run([file], json=False)
    assert "no concluyente" in capsys.readouterr().out
    detect.run([file], json=False, all_kinds=True, minimum=detect.Minimum())
    said = capsys.readouterr().out
    assert "bloqueo" in said
    assert "certeza" in said


# --- what is said as it goes on --------------------------------------------------------------------------------------


def change(one: Event) -> Change:
    return Changes().news(one, timedelta(minutes=30))


def test_the_log_for_people_is_in_their_language(in_spanish, lines):
    open_journal("text", lines.append)
    say_verdict(small(1, verdict=BLOCKED))
    say_change(change(event()))
    journal.Clock().note(-200_000_000.0)
    assert lines[0].endswith("info www.lapatilla.com en cantv está bloqueado (dns.nxdomain)")
    assert "www.lapatilla.com está bloqueado en CANTV AS8048 VE" in lines[1]
    assert "warning el reloj de esta máquina está 6 años atrasado" in lines[2]


def test_the_log_for_programs_is_in_english_everywhere(in_spanish, lines):
    open_journal("json", lines.append)
    say_verdict(small(1, verdict=BLOCKED))
    say_change(change(event()))
    say("list", "x")
    first, second, _ = map(json.loads, lines)
    assert first["text"] == "www.lapatilla.com on cantv is blocked (dns.nxdomain)"
    assert first["reason"].startswith("the ISP's resolver 200.44.32.12 was asked for")
    assert second["text"].startswith("www.lapatilla.com has been blocked on CANTV")


# --- what programs read ----------------------------------------------------------------------------------------------


def run(folder: Path, locale: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    user = {
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
    }
    environment = os.environ | user | {"LC_ALL": locale, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-m", "monitor", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("events", "--json"),
        ("export",),
        ("export", "--format", "csv"),
        ("sites", "--json"),
        ("export", "--status", "blocked"),
    ],
    ids=" ".join,
)
def test_what_programs_read_has_no_language(arguments, stored, home):
    (home / "probes.yaml").write_text(f"sites: ['https://a.example/']\nstore: {stored.store}\n")
    english, spanish = (run(home, locale, *arguments) for locale in ("C.UTF-8", "es_VE.UTF-8"))
    assert english.returncode == spanish.returncode == 0, english.stderr
    assert english.stdout == spanish.stdout != ""


def test_help_is_in_spanish_and_as_quick(home):
    told = run(home, "es_VE.UTF-8", "--help").stdout
    assert told.startswith("Uso: almenara ")
    for part in ("Comandos:", "Opciones:", "Muestra este mensaje y termina.", "Códigos de salida: 0"):
        assert part in told
    told = run(home, "es_VE.UTF-8", "export", "--help").stdout
    assert "Imprime las mediciones guardadas" in told
    assert "--status [ok|blocked|down|geoblocked|inconclusive]" in told


def test_without_consent_it_is_said_in_spanish_and_the_exit_code_is_the_same(home):
    (home / "probes.yaml").write_text("sites: ['https://a.example/']\n")
    done = run(home, "es_VE.UTF-8", "run")
    assert done.returncode == 2
    assert done.stderr.startswith("almenara: no se mide nada sin consentimiento: corre esto en una consola")
