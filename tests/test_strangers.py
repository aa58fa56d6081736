"""What strangers wrote, on a page: bounded, printable, and still readable."""

import base64
import unicodedata
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from monitor.models import Http
from monitor.web import strangers
from monitor.web.pages.room import Room

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"


def page(body: bytes, kind: str = "text/html; charset=utf-8") -> Http:
    return Http(
        hop=0, attempt=1, started=0.0, duration=0.1, failure=None, address="192.0.2.1", port=80, sources=("isp",),
        url="http://a.example/", headers=(("Content-Type", kind),), body=base64.b64encode(zlib.compress(body)).decode(),
    )  # fmt: skip


@given(st.text(max_size=2000), st.integers(10, 300))
def test_a_line_is_short_printable_and_turns_nothing(text, most):
    shown = strangers.line(text, most)
    assert len(shown) <= most
    assert not set(shown) & set(BIDI)
    assert all(unicodedata.category(char) not in ("Cc", "Cs", "Co", "Zl", "Zp") for char in shown)


@given(st.text(max_size=9000))
def test_a_passage_is_bounded_and_keeps_its_lines(text):
    shown = strangers.passage(text, 500)
    assert len(shown) <= 500
    assert not set(shown) & set(BIDI + "\0\r\x1b")
    assert "\n\n" not in shown


def test_other_scripts_stay_as_they_are():
    for text in ("موقع محجوب", "می‌خواهم", "Ñandú — «prensa»", "新闻 🗞", "हिन्दी"):
        assert strangers.line(text) == text


def test_what_is_cut_says_so():
    assert strangers.line("x" * 10**7).endswith("…")
    assert len(strangers.line("x" * 10**7)) == strangers.MAX_LINE


def test_a_pages_words_are_read_without_its_tags_scripts_and_styles():
    body = "<head><title>Aviso</title><style>p{}</style><script>alert(1)</script></head><p>Acceso <b>restringido</b><p>&lt;b&gt; ñ"
    assert strangers.page_text(page(body.encode())) == "Aviso\nAcceso restringido\n<b> ñ"
    assert strangers.page_text(page("<p>ñ".encode("latin-1"), "text/html; charset=iso-8859-1")) == "ñ"
    assert strangers.page_text(page(b"<b>plain", "text/plain")) == "<b>plain"


@pytest.mark.parametrize("body", [None, "", "%%%", "AAAA", base64.b64encode(b"no zlib").decode()])
def test_a_page_that_was_not_kept_or_is_damaged_has_no_words(body):
    import msgspec

    assert not strangers.page_text(msgspec.structs.replace(page(b""), body=body))


def test_a_bomb_is_not_unpacked():
    shown = strangers.page_text(page(b"<p>x</p>\n" * 5_000_000))
    assert shown is not None
    assert len(shown) <= strangers.MAX_PASSAGE


@given(st.binary(max_size=3000))
def test_no_bytes_make_reading_a_page_raise(body):
    assert isinstance(strangers.page_text(page(body)), str)


@given(st.lists(st.text(max_size=400), max_size=60))
def test_all_that_strangers_wrote_on_a_page_has_only_so_much_room(texts):
    room = Room(2000)
    shown = [room.line(text) for text in texts]
    spent = [one for one in shown if one != "…"]
    assert sum(len(escape(one).encode()) for one in spent) <= 2000
