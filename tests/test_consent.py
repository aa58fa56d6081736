"""Nothing is measured before a yes."""

import io
import json
import os
import stat
import sys
from datetime import UTC, datetime

import pytest

from monitor.consent import TEXT_VERSION, ConsentMissing, remembered_at, require, require_here
from monitor.consent_texts import risks
from monitor.language import words

NOW = datetime(2018, 1, 15, 13, 5, tzinfo=UTC)


class Asked:
    """Answers as given, and keeps what was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.texts: list[str] = []

    def __call__(self, text: str) -> str:
        self.texts.append(text)
        return self.answers.pop(0)


def test_consent_in_the_configuration_is_enough(tmp_path):
    require(True, ask=None, now=NOW, remembered=tmp_path / "consent")
    assert list(tmp_path.iterdir()) == []


def test_a_no_in_the_configuration_outweighs_a_remembered_yes(tmp_path):
    remembered = tmp_path / "consent"
    require(None, ask=Asked("yes\n"), now=NOW, remembered=remembered)
    with pytest.raises(ConsentMissing, match="`consent: false`"):
        require(False, ask=Asked("yes\n"), now=NOW, remembered=remembered)


def test_the_risks_are_shown_and_a_yes_is_remembered_with_date_and_version(tmp_path):
    remembered, asked = tmp_path / "state" / "almenara" / "consent", Asked("yes\n")
    require(None, ask=asked, now=NOW, remembered=remembered)
    assert "Your internet provider" in asked.texts[0]
    assert str(remembered) in asked.texts[0]
    assert json.loads(remembered.read_text()) == {"date": "2018-01-15T13:05:00Z", "text_version": TEXT_VERSION}
    assert stat.S_IMODE(remembered.stat().st_mode) == 0o600
    require(None, ask=None, now=NOW, remembered=remembered)


@pytest.mark.parametrize("answers", [("no\n",), ("\n",), ("",), ("n\n",), ("yess\n", "sure\n", "no\n"), ("1\n", "")])
def test_only_a_whole_yes_is_one(answers, tmp_path):
    with pytest.raises(ConsentMissing, match="was not given"):
        require(None, ask=Asked(*answers), now=NOW, remembered=tmp_path / "consent")
    assert list(tmp_path.iterdir()) == []


def test_an_unclear_answer_is_asked_again(tmp_path):
    asked = Asked("ye\n", " YES \n")
    require(None, ask=asked, now=NOW, remembered=tmp_path / "consent")
    assert asked.texts[1] == "Please type yes or no: "


@pytest.mark.parametrize("locale", ["es_VE.UTF-8", "C"])
@pytest.mark.parametrize("answer", ["yes", "y", "Sí", "si\u0301", "si", "S", "SÍ"])
def test_a_yes_in_either_language_is_one(answer, locale, tmp_path, monkeypatch):
    monkeypatch.setenv("LC_ALL", locale)
    require(None, ask=Asked(answer + "\n"), now=NOW, remembered=tmp_path / "consent")
    given = json.loads((tmp_path / "consent").read_text())
    assert given == {"date": "2018-01-15T13:05:00Z", "text_version": TEXT_VERSION}


def test_in_spanish_all_of_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("LC_ALL", "es_VE.UTF-8")
    asked = Asked("quizás\n", "no\n")
    with pytest.raises(ConsentMissing) as caught:
        require(None, ask=asked, now=NOW, remembered=tmp_path / "consent")
    assert "no diste tu consentimiento" in words("es").said(caught.value)
    assert "Tu proveedor de internet" in asked.texts[0]
    assert asked.texts[0].endswith("Escribe sí o no: ")
    assert asked.texts[1] == "Por favor, escribe sí o no: "


@pytest.mark.parametrize(
    "content",
    [b"", b"yes", b"{}", b"\xff", b'{"date": "2018-01-15T13:05:00Z", "text_version": 0}', b"[" * 100_000],
    ids=["empty", "no-json", "no-fields", "no-text", "older-text", "deep"],
)
def test_what_is_not_a_yes_to_this_very_text_is_asked_again(content, tmp_path):
    (tmp_path / "consent").write_bytes(content)
    with pytest.raises(ConsentMissing, match="run this on a terminal"):
        require(None, ask=None, now=NOW, remembered=tmp_path / "consent")


def test_without_a_terminal_one_line_says_how_to_consent(home, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    with pytest.raises(ConsentMissing) as caught:
        require_here(None)
    assert "`consent: true`" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not remembered_at().exists()


def test_a_yes_that_cannot_be_remembered_holds_for_this_run(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    require(None, ask=Asked("yes\n"), now=NOW, remembered=tmp_path / "file" / "consent")
    assert "could not be remembered" in capsys.readouterr().err


def test_it_is_remembered_where_state_belongs(home, monkeypatch):
    assert remembered_at() == home / ".local" / "state" / "almenara" / "consent"
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "xdg"))
    assert remembered_at() == home / "xdg" / "almenara" / "consent"


def test_the_text_says_who_sees_it_what_it_may_mean_and_what_is_recorded():
    english, spanish = (risks(words(code), "/home/maria/consent") for code in ("en", "es"))
    for said in ("Who can see it.", "illegal", "What is recorded.", "What is not recorded.", "no VPN"):
        assert said in english
    for said in ("Quién lo puede ver.", "ilegal", "Qué se registra.", "Qué no se registra.", "no es una VPN"):
        assert said in spanish
    assert english.count("\n\n") == spanish.count("\n\n")
    assert max(map(len, (english + spanish).splitlines())) <= 120


def test_the_file_to_delete_is_told_in_one_piece_however_long_it_is():
    file = "/home/maria/" + 20 * "a-folder/" + "consent"
    assert file in risks(words("es"), file)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals")
def test_on_a_terminal_the_answer_is_typed_and_stdout_stays_clean(home, monkeypatch, capsys):
    ours, theirs = os.openpty()
    with open(theirs, "r+b", buffering=0) as raw, open(ours, "wb", buffering=0) as keyboard:
        terminal = io.TextIOWrapper(raw, write_through=True)
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        keyboard.write(b"yes\n")
        require_here(None)
        assert capsys.readouterr().out == ""
        assert remembered_at().exists()
        monkeypatch.undo()
        terminal.detach()
