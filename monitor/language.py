"""The reader's language: messages from catalogues, and numbers, dates and names of countries as that language has them.

English is the message's id and needs no catalogue. Another language is one file, locale/CODE.po, read at its first use;
docs/translating.md tells how to make one. A message without a translation stays English, and so does one whose
translation names other values than the message: a mistake in a catalogue never breaks a page.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import cached_property, lru_cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any

from monitor.messages import Said

if TYPE_CHECKING:
    from types import ModuleType

    from babel import Locale
    from babel.messages import Catalog, Message

    from monitor.models import Kind, Status

FOLDER = Path(__file__).parent / "locale"
ENGLISH_CODE = "en"
_LOCALES = {ENGLISH_CODE: "en_GB"}  # day before month
_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_MOST_ASKED = 500  # characters of a header
_LOG = logging.getLogger("almenara")


class Words:
    """One language. Texts are plain: whoever puts them into HTML escapes them."""

    def __init__(self, code: str, translations: NullTranslations) -> None:
        self.code = code
        self._translations = translations

    def text(self, message: str, /, **values: object) -> str:
        """The message with the values that it names in braces; what is a message itself is said in this language."""
        return self.gettext(message).format(**{name: self._value(value) for name, value in values.items()})

    def said(self, what: object) -> str:
        """A message, or an error that carries one; anything else as it is."""
        carried = what.args[0] if isinstance(what, Exception) and what.args else what
        return carried.told(self) if isinstance(carried, Said) else str(what)

    def _value(self, value: object) -> object:
        return self.said(value) if isinstance(value, Said | Exception) else value

    def many(self, singular: str, plural: str, number: int, /, **values: object) -> str:
        """The form for that number, which it names as {count}."""
        return self.ngettext(singular, plural, number).format(**{"count": self.number(number)} | values)

    def gettext(self, message: str) -> str:
        """The message as it is, nothing filled in."""
        return self._translations.gettext(message) if message else ""

    def ngettext(self, singular: str, plural: str, number: int) -> str:
        """The form for that number, nothing filled in."""
        return self._translations.ngettext(singular, plural, number)

    def install(self, environment: Any) -> None:
        """Into a Jinja environment with its i18n extension: `trans` and `_()` then speak this language."""
        environment.install_gettext_translations(self._translations, newstyle=True)

    # --- values ----------------------------------------------------------------------------------------------------

    @cached_property
    def _locale(self) -> "Locale":
        from babel import Locale

        return Locale.parse(_LOCALES.get(self.code, self.code))

    def number(self, number: float | Decimal) -> str:
        """12,345.6"""
        from babel.numbers import format_decimal

        return format_decimal(number, locale=self._locale)

    def percent(self, share: float) -> str:
        """98.7%: rounded down, so that 0.9999 is never shown as certain."""
        from babel.numbers import format_percent

        permille = Decimal(int(share * 1000)) / 1000
        return format_percent(permille, locale=self._locale, decimal_quantization=False)

    def moment(self, when: datetime, zone: tzinfo = UTC) -> str:
        """5 Jan 2026, 14:03 UTC"""
        there = when.astimezone(zone)
        return self.text(
            "{day}, {time} {zone}", day=self.day(when, zone), time=self.time(when, zone), zone=there.tzname()
        )

    def day(self, when: datetime, zone: tzinfo = UTC) -> str:
        """5 Jan 2026"""
        from babel.dates import format_skeleton

        return format_skeleton("yMMMd", when.astimezone(zone), locale=self._locale)

    def short_day(self, when: datetime, zone: tzinfo = UTC) -> str:
        """5 Jan"""
        from babel.dates import format_skeleton

        return format_skeleton("MMMd", when.astimezone(zone), locale=self._locale)

    def month(self, when: datetime, zone: tzinfo = UTC) -> str:
        """January 2026"""
        from babel.dates import format_skeleton

        return format_skeleton("yMMMM", when.astimezone(zone), locale=self._locale)

    def time(self, when: datetime, zone: tzinfo = UTC) -> str:
        """14:03"""
        return f"{when.astimezone(zone):%H:%M}"

    def span(self, length: timedelta | float) -> str:
        """2 hours 5 minutes: the two largest units. length: a number means seconds."""
        from babel.lists import format_list
        from babel.units import format_unit

        parts = [format_unit(count, f"duration-{unit}", locale=self._locale) for count, unit in _largest(length)]
        return format_list(parts, style="unit-narrow", locale=self._locale)

    def ago(self, length: timedelta | float) -> str:
        """3 hours ago: the largest unit. length: a number means seconds."""
        from babel.dates import format_timedelta

        return format_timedelta(-timedelta(seconds=_seconds(length)), add_direction=True, locale=self._locale)

    def listed(self, items: Sequence[str]) -> str:
        """a, b and c"""
        from babel.lists import format_list

        return format_list(items, locale=self._locale)

    def some(self, items: Sequence[str], most: int) -> str:
        """a, b, c and 37 others"""
        left = len(items) - most
        others = [self.many("{count} other", "{count} others", left)] if left > 0 else []
        return self.listed([*items[:most], *others])

    def country(self, code: str | None) -> str:
        """VE: Venezuela; a code that nobody has given out as it is."""
        return str(self._locale.territories.get(code or "", code or ""))

    # --- names that data has ---------------------------------------------------------------------------------------

    @cached_property
    def _names(self) -> "ModuleType":
        from monitor import vocabulary  # slow, and `almenara --help` does without it

        return vocabulary

    def status(self, status: "Status | str") -> str:
        """One or two words."""
        return self.gettext(self._names.STATUS_NAMES.get(status, str(status)))

    def status_meaning(self, status: "Status | str") -> str:
        """A sentence."""
        return self.gettext(self._names.STATUS_MEANINGS.get(status, ""))

    def method(self, method: str) -> str:
        """A few words; a method that is not known as it is."""
        return self.gettext(self._names.METHOD_NAMES.get(method, method))

    def method_meaning(self, method: str) -> str:
        """A sentence."""
        return self.gettext(self._names.METHOD_WORDS.get(method, self._names.UNKNOWN_METHOD))

    def rule(self, rule: str) -> str:
        """Why a verdict by that rule is right: a sentence."""
        return self.gettext(self._names.RULE_MEANINGS.get(rule, self._names.UNKNOWN_RULE))

    def reason(self, reason: Mapping[str, Any]) -> str:
        """One bounded, printable line, with no full stop."""
        return str(self._names.explain(reason, self.gettext))

    def failure(self, failure: str) -> str:
        """What failed: a sentence."""
        return self.gettext(self._names.FAILURE_WORDS.get(failure, self._names.UNKNOWN_FAILURE))

    def kind(self, kind: "Kind | str") -> str:
        """A few words for a kind of event."""
        return self.gettext(self._names.KIND_NAMES.get(kind, str(kind)))

    def kind_meaning(self, kind: "Kind | str") -> str:
        """A sentence."""
        return self.gettext(self._names.KIND_MEANINGS.get(kind, ""))


ENGLISH = Words(ENGLISH_CODE, NullTranslations())


@lru_cache
def words(code: str) -> Words:
    """The language, or English where its catalogue cannot be read."""
    if code == ENGLISH_CODE:
        return ENGLISH
    from babel.messages.pofile import PoFileError

    try:
        return Words(code, read(FOLDER / f"{code}.po"))
    except (OSError, ValueError, PoFileError) as exc:
        _LOG.error("language %s cannot be read: %s", code, exc)
        return ENGLISH


@lru_cache
def available() -> Mapping[str, str]:
    """Code -> the language's own name for itself."""
    from babel import Locale

    named = {code: Locale.parse(code).get_display_name(code) or code for code in _codes()}
    return {code: name[0].upper() + name[1:] for code, name in named.items()}


@lru_cache
def _codes() -> Sequence[str]:
    return (ENGLISH_CODE, *sorted(file.stem for file in FOLDER.glob("*.po")))


def choose(accept_language: str, asked: str | None) -> str:
    """The language for a browser: what its reader asked for, else the one it prefers, else English."""
    known = _codes()
    if asked is not None and asked in known:
        return asked
    preferred = _preferred(accept_language[:_MOST_ASKED])
    return next((code for code in preferred if code in known), ENGLISH_CODE)


def _preferred(header: str) -> Iterator[str]:
    """The languages in an Accept-Language header (RFC 9110, 12.5.4), the most wanted first, without their regions."""
    ranked: list[tuple[float, str]] = []
    for part in header.split(","):
        tag, _, weight = part.partition(";")
        try:
            wanted = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        if 0 < wanted <= 1:
            ranked.append((-wanted, tag.strip().split("-")[0].lower()))
    return (tag for _, tag in sorted(ranked, key=lambda one: one[0]))


def here(environment: Mapping[str, str] = os.environ) -> Words:
    """The language of this terminal, as gettext finds it: LANGUAGE, then LC_ALL, LC_MESSAGES or LANG."""
    locale = next((environment[key] for key in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(key)), "C")
    if _language(locale) in ("c", "posix"):  # LANGUAGE has no say then
        return ENGLISH
    known = _codes()
    wanted = [*environment.get("LANGUAGE", "").split(":"), locale]
    return words(next((code for code in map(_language, wanted) if code in known), ENGLISH_CODE))


def _language(locale: str) -> str:
    """es_VE.UTF-8@latin: es."""
    for separator in ("@", ".", "_", "-"):
        locale = locale.partition(separator)[0]
    return locale.lower()


# --- catalogues ----------------------------------------------------------------------------------------------------


def read(file: Path) -> GNUTranslations:
    """A catalogue, without what is not translated, not sure (fuzzy) or not usable. Raises OSError, ValueError, PoFileError."""
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    with file.open("rb") as opened:
        catalogue: Catalog = read_po(opened, abort_invalid=True)
    for message in list(catalogue):
        if message.id and not is_usable(message):
            catalogue.delete(message.id, message.context)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)


def is_usable(message: "Message") -> bool:
    """Can each form of the translation be filled in with the values that the message names?"""
    ids, forms = _forms(message.id), _forms(message.string)
    for named in (braces, percents):
        asked = [found for found in map(named, ids) if found is not None]
        if len(asked) == len(ids):
            known = frozenset[str]().union(*asked)
            if any((found := named(form)) is None or not found <= known for form in forms):
                return False
    return True


def _forms(texts: str | Sequence[str] | None) -> Sequence[str]:
    return (texts,) if isinstance(texts, str) else texts or ()


def braces(text: str) -> frozenset[str] | None:
    """The values that a message of Python code names: {name}. None where it is no such message."""
    try:
        return frozenset(name for _, name, _, _ in Formatter().parse(text) if name is not None)
    except ValueError:
        return None


def percents(text: str) -> frozenset[str] | None:
    """The values that a message of a template names: %(name)s. None where it is no such message."""
    names = re.findall(r"%\((\w+)\)s", text.replace("%%", ""))
    return None if "%" in re.sub(r"%%|%\(\w+\)s", "", text) else frozenset(names)


def _largest(length: timedelta | float) -> list[tuple[int, str]]:
    """The two largest units, without one that is 0 after the first."""
    seconds = max(0, int(_seconds(length)))
    parts: list[tuple[int, str]] = []
    for size, unit in _UNITS:
        count, seconds = divmod(seconds, size)
        if count or parts or size == 1:
            parts.append((count, unit))
    return parts[:1] + [part for part in parts[1:2] if part[0]]


def _seconds(length: timedelta | float) -> float:
    return length.total_seconds() if isinstance(length, timedelta) else length
