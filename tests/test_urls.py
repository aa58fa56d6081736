"""URLs are hostile text: what comes out is a host and a port, or BadUrl."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.urls import BadUrl, redirect, target

GOOD = {
    "https://www.lapatilla.com/": ("https", "www.lapatilla.com", 443, "www.lapatilla.com"),
    "HTTPS://WWW.LaPatilla.COM": ("https", "www.lapatilla.com", 443, "www.lapatilla.com"),
    "http://elpitazo.net:80/": ("http", "elpitazo.net", 80, "elpitazo.net"),
    "http://elpitazo.net:8080/": ("http", "elpitazo.net", 8080, "elpitazo.net:8080"),
    "https://elpitazo.net:80/": ("https", "elpitazo.net", 80, "elpitazo.net:80"),
    "https://elpitazo.net./": ("https", "elpitazo.net", 443, "elpitazo.net"),
    "https://niño.example/": ("https", "xn--nio-8ma.example", 443, "xn--nio-8ma.example"),
    "https://xn--nio-8ma.example/": ("https", "xn--nio-8ma.example", 443, "xn--nio-8ma.example"),
    "http://under_score.example/": ("http", "under_score.example", 80, "under_score.example"),
    "http://190.202.10.10/": ("http", "190.202.10.10", 80, "190.202.10.10"),
    "http://[2800:A4::1]:8080/": ("http", "2800:a4::1", 8080, "[2800:a4::1]:8080"),
    "https://user:secret@elpitazo.net/": ("https", "elpitazo.net", 443, "elpitazo.net"),
}  # fmt: skip

BAD = (
    "", "/", "elpitazo.net", "//elpitazo.net/", "ftp://elpitazo.net/", "file:///etc/passwd", "javascript:alert(1)", "https://",
    "https:///x", "https://exa mple.com/", "https://a\nb.example/", "https://a\x00b/", "http://[::1", "http://elpitazo.net:99999/",
    "http://elpitazo.net:-1/", "http://..", "http://a..z/", "http://a/%0d%0a" + "x" * 5000,
)  # fmt: skip


@pytest.mark.parametrize("url", GOOD)
def test_a_url_tells_where_it_points(url: str) -> None:
    found = target(url)
    assert (found.scheme, found.host, found.port, found.site) == GOOD[url]


@pytest.mark.parametrize("url", BAD)
def test_what_cannot_be_measured_is_refused(url: str) -> None:
    with pytest.raises(BadUrl):
        target(url)


@pytest.mark.parametrize(
    ("base", "location", "there"),
    [
        ("http://a.example/x", "https://a.example/", "https://a.example/"),
        ("http://a.example/x/y", "z", "http://a.example/x/z"),
        ("http://a.example/x", "/", "http://a.example/"),
        ("https://a.example/", "//b.example/q", "https://b.example/q"),
        ("http://a.example/x", "?q=1", "http://a.example/x?q=1"),
        ("http://a.example/x", "/y#top", "http://a.example/y"),
        ("http://a.example/x", "", "http://a.example/x"),
    ],
)
def test_a_redirect_leads_where_a_browser_would_go(base: str, location: str, there: str) -> None:
    assert redirect(base, location).url == there


@pytest.mark.parametrize("location", ["ftp://a.example/", "http://[::1", "javascript:alert(1)", "http://a..z/"])
def test_a_redirect_that_leads_nowhere_is_refused(location: str) -> None:
    with pytest.raises(BadUrl):
        redirect("http://a.example/", location)


def test_a_refusal_is_short() -> None:
    with pytest.raises(BadUrl) as refused:
        target("gopher://" + "\0" * 4_000)
    assert len(str(refused.value)) < 1_500


@pytest.mark.parametrize("host", ["a..b", "fe..", "a" * 64 + ".com", ".".join(["a" * 60] * 6)])
def test_a_name_that_dns_cannot_carry_is_refused(host: str) -> None:
    with pytest.raises(BadUrl):
        target(f"http://{host}/")


@given(st.text(max_size=60) | st.text("htps:/.[]@%#?\\\n\x000aà", max_size=40).map("http://{}".format))
def test_any_text_is_a_target_or_refused(text: str) -> None:
    try:
        found = target(text)
    except BadUrl:
        return
    assert found.scheme in ("http", "https")
    assert found.host.isascii()
    assert 0 < found.port < 65_536
    assert not set(found.host) & set(" /\\@?#[]\n\0")


@given(st.text(max_size=60))
def test_any_location_leads_to_a_target_or_is_refused(location: str) -> None:
    try:
        found = redirect("http://a.example/x?y=z", location)
    except BadUrl:
        return
    assert "#" not in found.url


@given(st.text("abc.-_:0é", min_size=1, max_size=20).map("https://{}/".format))
def test_a_target_points_to_itself(url: str) -> None:
    try:
        found = target(url)
    except BadUrl:
        return
    assert target(found.url) == found
