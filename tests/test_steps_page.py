"""Invariant: no page, however malformed, makes its title or fingerprint raise; near-identical pages have near fingerprints."""

import encodings.aliases
import random
import time
from pkgutil import iter_modules

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.steps.page import MAX_TITLE_CHARACTERS, decoded, distance, simhash, title


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"<html><head><title>La Patilla</title>", None, "La Patilla"),
        (b"<TITLE lang=es>\n La   Patilla\n</TITLE >", None, "La Patilla"),
        (b"<title>Uno &amp; dos &ntilde;</title>", None, "Uno & dos ñ"),
        ("<title>Opinión</title>".encode(), None, "Opinión"),
        ("<title>Opinión</title>".encode("latin-1"), "text/html; charset=ISO-8859-1", "Opinión"),
        ("<title>Opinión</title>".encode("latin-1"), None, "Opinión"),
        ('<meta charset="windows-1251"><title>Новости</title>'.encode("cp1251"), "text/html", "Новости"),
        ("<title>Opinión</title>".encode(), "text/html; charset=no-such", "Opinión"),
        ("<title>Opinión</title>".encode(), "text/html; charset=hex", "Opinión"),
        ("<title>Opinión</title>".encode(), "text/html; charset=punycode", "Opinión"),
        ("<title>記事</title>".encode("shift_jis"), "text/html; charset=Shift_JIS", "記事"),
        ("<title>뉴스</title>".encode("euc-kr"), "text/html; charset=ks_c_5601-1987", "뉴스"),
        ("<title>Opinión</title>".encode("utf-16"), "text/html; charset=UTF-16", None),  # its tags are not looked for
        (b"<!-- <title>no</title> --><title>yes</title>", None, "yes"),
        (b"<script>'<title>no</title>'</script><title>yes</title>", None, "yes"),
        (b"<title>first</title><svg><title>second</title></svg>", None, "first"),
        (b"<title>Never closed", None, "Never closed"),
        (b"<title></title>", None, None),
        (b"<title>a\x00b\x1b[31mc</title>", None, "ab[31mc"),
        (b"no page at all", None, None),
        (b"", None, None),
        (b"<title>" + b"x" * 5000 + b"</title>", None, "x" * MAX_TITLE_CHARACTERS),
    ],
)
def test_titles(body, content_type, expected):
    assert title(body, content_type) == expected


def test_no_charset_takes_long_to_decode():
    """Whoever sends a page names its charset, and Python knows odd ones."""
    page = b"a" * 131_072 + b"-" + b"z" * 131_072
    for charset in sorted({*encodings.aliases.aliases, *(one.name for one in iter_modules(encodings.__path__))}):
        before = time.process_time()
        decoded(page, f"text/html; charset={charset}")
        assert time.process_time() - before < 1, charset


@given(st.binary(max_size=500), st.none() | st.text(max_size=40))
def test_no_bytes_make_a_title_raise(body, content_type):
    for page in (body, b"<title>" + body, b"<head " + body + b"<title>x"):
        found = title(page, content_type)
        assert found is None or 0 < len(found) <= MAX_TITLE_CHARACTERS


@pytest.mark.parametrize("piece", [b"<", b"<a ", b"<!--", b"<a b='", b"&", b"</", b"<![", b"<a/", b"<?", b" x=", b"<!"])
def test_no_page_makes_a_title_slow(piece):
    page = b"<title>" + piece * (512 * 1024 // len(piece))
    began = time.process_time()
    title(page, None)
    assert time.process_time() - began < 1


def page_of(seed: int, words: int = 3000) -> list[bytes]:
    """Paragraphs of a made-up newspaper."""
    chance = random.Random(seed)
    vocabulary = ["".join(chance.choices("abcdefghijklmnop", k=chance.randint(3, 9))) for _ in range(words // 2)]
    return [f"<p class=n>{' '.join(chance.choices(vocabulary, k=30))}</p>".encode() for _ in range(words // 30)]


@pytest.mark.parametrize("seed", range(8))
def test_near_identical_pages_have_near_fingerprints(seed):
    paragraphs = page_of(seed)
    original = simhash(b"".join(paragraphs))
    assert len(original) == 16
    changed = [*paragraphs[:50], b"<p>a new headline of this hour, 12:34</p>", *paragraphs[51:]]
    assert distance(original, simhash(b"".join(changed))) <= 10
    assert distance(original, simhash(b"".join(page_of(seed + 100)))) >= 18
    assert distance(original, simhash(b"<html><body>Sitio bloqueado por orden de CONATEL</body></html>")) >= 14


def test_numbers_and_capitals_do_not_count():
    assert simhash(b"<p>Visitas 123 hoy</p>") == simhash(b"<P>VISITAS 98765 hoy</P>")


def test_a_fingerprint_does_not_change_with_the_version():
    assert simhash(b"<html><title>El Pitazo</title><p>Noticias de Venezuela</p></html>") == "8683ea8999b4eaba"


@given(st.binary(max_size=2000))
def test_no_bytes_make_a_fingerprint_raise(body):
    assert distance(simhash(body), simhash(body)) == 0


@pytest.mark.parametrize(("first", "second"), [("", "0" * 16), ("zz", "0" * 16), ("f" * 400, "0" * 16)])
def test_what_is_no_fingerprint_is_as_far_as_can_be(first, second):
    assert distance(first, second) == 64


def test_a_large_page_is_fingerprinted_in_milliseconds():
    page = b"".join(page_of(1, 100_000))[:512_000]
    began = time.process_time()
    for number in range(10):  # each another, for pages that just came are remembered
        simhash(page[number:])
        title(page[number:], "text/html")
    # 5 ms each where this was written; the margin is for slow machines, the order of magnitude for regressions.
    assert (time.process_time() - began) / 10 < 0.1
