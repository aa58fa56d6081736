"""English and Spanish: every message has its translation, mistakes in one never break a page, each reader gets his own."""

import ast
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from babel.messages import Message
from jinja2 import Environment, StrictUndefined
from messages import PROGRAM, SQL, catalogues, said, written

from monitor import explain, failures, vocabulary
from monitor.language import ENGLISH, FOLDER, Words, available, braces, choose, here, is_usable, percents, read, words
from monitor.models import Kind, Status
from monitor.verdict.rules import RULES

HOW_TO = (
    "bring the catalogue up to date with `python tests/messages.py` and translate what is empty (docs/translating.md)"
)
NOW = datetime(2018, 1, 15, 13, 5, tzinfo=UTC)
WORDS = {code: words(code) for code in ("en", "es")}


# --- the catalogues --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoken() -> dict[tuple, Message]:
    """Every message that the program can say."""
    return {(one.id, one.context): one for one in said() if one.id}


def test_messages_are_found_in_code_templates_rules_and_help(spoken):
    ids = {id for id, _ in spoken}
    assert "{site} is blocked on {network}" in ids
    assert any("%(" in str(id) for id in ids)
    assert RULES[0].why in ids
    assert "Print the stored measurements, oldest first." in ids
    assert ("{count} probe", "{count} probes") in ids


@pytest.mark.parametrize("file", catalogues(), ids=lambda file: file.stem)
def test_every_message_is_translated_and_no_other_is(file, spoken):
    translated = {(one.id, one.context): one for one in written(file) if one.id}
    missing = [id for id in spoken if id not in translated or not all(forms(translated[id]))]
    assert missing == [], HOW_TO
    assert [id for id in translated if id not in spoken] == [], HOW_TO


# Words that mean something else in Caracas (parado: on one's feet), or that only Spain says.
NOT_IN_CARACAS = re.compile(
    r"\b(parad[oa]s?|puls(a|e|es|ar)|ordenador(es)?|ficheros?|móvil(es)?|coge[rs]?|vosotros|en hora|cabeceras?)\b",
    re.IGNORECASE,
)


def test_spanish_is_that_of_its_readers():
    told = [form for message in written(FOLDER / "es.po") for form in forms(message)]
    assert [text for text in told if NOT_IN_CARACAS.search(text)] == []


@pytest.mark.parametrize("file", catalogues(), ids=lambda file: file.stem)
def test_every_translation_names_the_values_that_its_message_names(file):
    for message in written(file):
        if message.id:
            assert is_usable(message), message.id
            assert not message.fuzzy, message.id
            for form in filter(None, forms(message)):
                for named in (braces, percents):
                    if all(named(id) is not None for id in ids(message)):
                        # A form for one may leave the number out ("once"); nothing else is ever left out.
                        assert named(form) | {"count", "number"} >= named(ids(message)[-1]), message.id


@pytest.mark.parametrize("file", catalogues(), ids=lambda file: file.stem)
def test_a_translation_begins_and_ends_as_its_message_does(file):
    for message in written(file):
        for form in filter(None, forms(message) if message.id else ()):
            original = ids(message)[0]
            assert form.strip() == form or original.strip() != original, message.id
            for end in (".", ":"):
                assert original.rstrip().endswith(end) == form.rstrip().endswith(end), message.id


@pytest.mark.parametrize("file", catalogues(), ids=lambda file: file.stem)
def test_a_catalogue_has_as_many_plural_forms_as_its_language(file):
    catalogue = written(file)
    assert str(catalogue.locale) == file.stem
    for message in catalogue:
        if message.pluralizable:
            assert len(forms(message)) == catalogue.num_plurals, message.id


def forms(message: Message) -> tuple[str, ...]:
    return message.string if isinstance(message.string, tuple) else (message.string,)


def ids(message: Message) -> tuple[str, ...]:
    return message.id if isinstance(message.id, tuple) else (message.id,)


def test_messages_that_are_chosen_beforehand_are_marked():
    """`text(message)` says what was put into `message`: Babel finds that only where it stands in N_(..)."""
    for file in sorted(PROGRAM.rglob("*.py")):
        if SQL not in file.relative_to(PROGRAM).parts:
            for function in ast.walk(ast.parse(file.read_text(), file)):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    assert unmarked(function) == [], f"{file.name}: {function.name}: expected N_(..) around these"


def unmarked(function: ast.AST) -> list[str]:
    """The texts that a function puts into a name, without a mark, and hands to `text` or `many` by that name."""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    handed = {
        node.id
        for call in calls if call.func.attr in ("text", "many", "gettext")
        for argument in call.args for node in ast.walk(argument) if isinstance(node, ast.Name)
    }  # fmt: skip
    found = []
    for node in ast.walk(function):
        targets = node.targets if isinstance(node, ast.Assign) else ()
        if any(isinstance(target, ast.Name) and target.id in handed for target in targets):
            found += bare_texts(node.value)
    return found


def bare_texts(value: ast.AST) -> list[str]:
    """Texts of several words that a conditional expression may give, outside any call."""
    if isinstance(value, ast.IfExp):
        return [*bare_texts(value.body), *bare_texts(value.orelse)]
    return [value.value] if isinstance(value, ast.Constant) and " " in str(value.value) else []


# --- mistakes in a catalogue -----------------------------------------------------------------------------------------

HEADER = """\
msgid ""
msgstr ""
"Language: es\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"

"""


def spanish(tmp_path: Path, *entries: tuple[str, str], more: str = "") -> Words:
    """Spanish as a catalogue with only these has it."""
    text = "".join(f'msgid "{id}"\nmsgstr "{string}"\n\n' for id, string in entries)
    (tmp_path / "es.po").write_text(HEADER + text + more)
    return Words("es", read(tmp_path / "es.po"))


@pytest.mark.parametrize(
    ("message", "translation"),
    [
        ("{site} opens", ""),
        ("{site} opens", "{sitio} abre"),
        ("{site} opens", "{site.__class__} abre"),
        ("{site} opens", "{0} abre"),
        ("{site} opens", "{site abre"),
        ("{site} opens", "abre }"),
    ],
)
def test_a_message_without_a_usable_translation_stays_english(message, translation, tmp_path):
    assert spanish(tmp_path, (message, translation)).text(message, site="a.example") == "a.example opens"


def test_a_translation_may_leave_a_value_out_or_name_it_twice(tmp_path):
    said = spanish(tmp_path, ("{site} opens", "abre"), ("{site} is down", "{site}: {site} cayó"))
    assert said.text("{site} opens", site="a") == "abre"
    assert said.text("{site} is down", site="a") == "a: a cayó"


@pytest.mark.parametrize("translation", ["%(otro)s abre", "%(site)d abre", "%(site abre", "% abre %", "%s abre"])
def test_a_broken_translation_never_breaks_a_template(translation, tmp_path):
    page = Environment(autoescape=True, undefined=StrictUndefined, extensions=["jinja2.ext.i18n"])
    spanish(tmp_path, ("%(site)s opens", translation), ("Now", "Ahora")).install(page)
    template = page.from_string("{% trans site=site %}{{ site }} opens{% endtrans %} {{ _('Now') }}")
    assert template.render(site="<b>") == "&lt;b&gt; opens Ahora"


def test_a_value_is_never_a_message(tmp_path):
    said = spanish(tmp_path, ("{site} opens", "{site} abre"))
    assert said.text("{site} opens", site="{count} %(site)s") == "{count} %(site)s abre"


def test_what_nobody_is_sure_of_is_not_said(tmp_path):
    said = spanish(tmp_path, more='#, fuzzy\nmsgid "Now"\nmsgstr "Nunca"\n')
    assert said.text("Now") == "Now"


def test_a_plural_without_all_its_forms_stays_english(tmp_path):
    entry = 'msgid "{count} site"\nmsgid_plural "{count} sites"\nmsgstr[0] "{count} sitio"\nmsgstr[1] "%s"\n'
    for forms in ("", "{n} sitios"):
        said = spanish(tmp_path, more=entry % forms)
        assert said.many("{count} site", "{count} sites", 2) == "2 sites"
    assert spanish(tmp_path, more=entry % "{count} sitios").many("{count} site", "{count} sites", 2) == "2 sitios"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"msgid", b'msgid "a" "\n'], ids=["no-text", "no-message", "no-end"])
def test_a_language_that_cannot_be_read_is_said_in_english(content, tmp_path, monkeypatch, caplog):
    (tmp_path / "qu.po").write_bytes(content)
    monkeypatch.setattr("monitor.language.FOLDER", tmp_path)
    assert words("qu") is ENGLISH
    assert "qu" in caplog.text
    words.cache_clear()


# --- whose language --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "asked", "code"),
    [
        ("es-VE,es;q=0.9,en;q=0.8", None, "es"),
        ("en-US,es;q=0.5", None, "en"),
        ("en;q=0.3, es;q=0.7", None, "es"),
        ("ES", None, "es"),
        ("fr,de;q=0.7,*;q=0.1", None, "en"),
        ("fr, es-419;q=0.2", None, "es"),
        ("es;q=0, en;q=0.1", None, "en"),
        ("es;q=nan, es;q=2, es;q=x", None, "en"),
        ("", None, "en"),
        (";;,,=;q", None, "en"),
        ("x" * 100_000 + ",es", None, "en"),
        ("en", "es", "es"),
        ("es", "en", "en"),
        ("es", "../../secrets", "es"),
        ("es", "", "es"),
    ],
)
def test_a_reader_gets_what_he_asked_for_or_his_browser_prefers(header, asked, code):
    assert choose(header, asked) == code


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({"LANG": "es_VE.UTF-8"}, "es"),
        ({"LANG": "es"}, "es"),
        ({"LC_MESSAGES": "es_MX", "LANG": "en_US.UTF-8"}, "es"),
        ({"LC_ALL": "es_ES@euro"}, "es"),
        ({"LC_ALL": "", "LANG": "es_CO.UTF-8"}, "es"),
        ({"LC_ALL": "C", "LANG": "es_VE.UTF-8"}, "en"),
        ({"LC_ALL": "C.UTF-8", "LANGUAGE": "es"}, "en"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "qu:es:en"}, "es"),
        ({"LANG": "es_VE", "LANGUAGE": "en"}, "en"),
        ({"LANG": "est_EE"}, "en"),
        ({"LANG": "../es"}, "en"),
        ({}, "en"),
    ],
)
def test_the_terminal_speaks_as_its_locale_says(environment, code):
    assert here(environment).code == code


def test_languages_are_named_in_themselves():
    assert available() == {"en": "English", "es": "Español"}


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "english", "spanish"),
    [
        (lambda w: w.number(1234567), "1,234,567", "1.234.567"),
        (lambda w: w.number(0.5), "0.5", "0,5"),
        (lambda w: w.percent(0.987), "98.7%", "98,7\xa0%"),
        (lambda w: w.percent(0.99999), "99.9%", "99,9\xa0%"),
        (lambda w: w.percent(1), "100%", "100\xa0%"),
        (lambda w: w.moment(NOW), "15 Jan 2018, 13:05 UTC", "15 ene 2018, 13:05 UTC"),
        (lambda w: w.day(NOW), "15 Jan 2018", "15 ene 2018"),
        (lambda w: w.month(NOW), "January 2018", "enero de 2018"),
        (lambda w: w.span(7500), "2 hours 5 minutes", "2 horas 5 minutos"),
        (lambda w: w.span(timedelta(days=1)), "1 day", "1 día"),
        (lambda w: w.span(timedelta(days=1, minutes=9)), "1 day", "1 día"),
        (lambda w: w.span(0.4), "0 seconds", "0 segundos"),
        (lambda w: w.ago(timedelta(hours=3)), "3 hours ago", "hace 3 horas"),
        (lambda w: w.listed(["a", "b", "c"]), "a, b and c", "a, b y c"),
        (lambda w: w.country("US"), "United States", "Estados Unidos"),
        (lambda w: w.country("ZZZ"), "ZZZ", "ZZZ"),
        (lambda w: w.country(None), "", ""),
        (lambda w: w.many("{count} probe", "{count} probes", 1), "1 probe", "1 sonda"),
        (lambda w: w.many("{count} probe", "{count} probes", 2000), "2,000 probes", "2.000 sondas"),
    ],
)
def test_values_are_written_as_the_language_writes_them(said, english, spanish):
    assert [said(one) for one in WORDS.values()] == [english, spanish]


# --- names that data has ---------------------------------------------------------------------------------------------

NAMES = {
    "status": list(Status), "status_meaning": list(Status), "method": list(explain.METHOD_WORDS),
    "method_meaning": list(explain.METHOD_WORDS), "rule": [rule.id for rule in RULES],
    "failure": sorted(failures.NAMES), "kind": list(Kind), "kind_meaning": list(Kind),
}  # fmt: skip
ALIKE = {"permission_denied"}  # no two failures are told alike, except these


@pytest.mark.parametrize("kind", NAMES)
def test_every_name_has_words_of_its_own_in_both_languages(kind):
    for code, w in WORDS.items():
        told = [getattr(w, kind)(name) for name in NAMES[kind]]
        assert len(set(told)) == len(told), code
        assert not set(told) & {vocabulary.UNKNOWN_FAILURE, vocabulary.UNKNOWN_METHOD, vocabulary.UNKNOWN_RULE}
        assert all(told)
    if kind != "status":
        assert all(getattr(WORDS["en"], kind)(name) != getattr(WORDS["es"], kind)(name) for name in NAMES[kind])


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("name", ["from_the_future", "unknown_failure: <b>", "", "{site}", "%(site)s"])
def test_a_name_that_is_not_known_is_no_trouble(kind, name):
    for w in WORDS.values():
        assert isinstance(getattr(w, kind)(name), str)


def test_a_reason_is_told_in_spanish_with_its_values():
    reason = {"id": "resolver_lies", "resolver": "200.44.32.12", "addresses": [f"192.0.2.{i}" for i in range(6)],
              "name": "www.lapatilla.com", "sources": 3}  # fmt: skip
    told = WORDS["es"].reason(reason)
    assert told.startswith("el servidor de nombres del proveedor, 200.44.32.12, responde 192.0.2.0, ")
    assert "192.0.2.3 y 2 más por www.lapatilla.com" in told


def test_every_reason_has_its_values_in_both_languages():
    for id in explain.REASONS:
        english, spanish = (explain.template(id, w.gettext) or "" for w in WORDS.values())
        assert english != spanish
        assert explain.parameters(english) == explain.parameters(spanish)
