"""Sites and test lists: names, order, and every way a list can be wrong."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trustme

from monitor.config import Config, ConfigError, ListConfig, SiteConfig
from monitor.sites import MAX_LIST_BYTES, ListUnavailable, gather, parse_list, read_list, site_name
from monitor.urls import BadUrl

HEADER = "url,category_code,category_description,date_added,source,notes\n"


def row(url: str, category: str = "NEWS") -> str:
    return f"{url},{category},News Media,2018-07-06,OONI,\n"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://www.LaPatilla.com/a?b", "www.lapatilla.com"),
        ("https://elpitazo.net:443/", "elpitazo.net"),
        ("http://elpitazo.net:8080/", "elpitazo.net:8080"),
        ("https://elpitazo.net:80/", "elpitazo.net:80"),
        ("https://ñandú.example/", "xn--and-6ma2c.example"),
        ("https://[2001:db8::1]:8443/", "[2001:db8::1]:8443"),
    ],
)
def test_a_site_is_named_by_its_host(url, name):
    assert site_name(url) == name


def test_what_is_no_url_has_no_name():
    with pytest.raises(BadUrl):
        site_name("elpitazo.net")


def test_a_list_gives_the_sites_of_its_categories_in_order():
    text = (
        HEADER + row("https://b.example/") + row("https://c.example", "HUMR") + "\n" + row("https://a.example/", "XED")
    )
    assert list(parse_list(text, "ve.csv", ("NEWS", "HUMR"))) == [
        SiteConfig(url="https://b.example/", tags=("news",)),
        SiteConfig(url="https://c.example/", tags=("humr",)),
    ]


def test_a_note_may_hold_commas_quotes_and_line_ends():
    text = HEADER + 'https://a.example/,NEWS,News Media,2018-07-06,OONI,"a ""note"", \u2028\nwith everything"\n'
    assert [site.url for site in parse_list(text, "ve.csv", ("NEWS",))] == ["https://a.example/"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ve.csv:1: url: expected a column of that name: url,category_code,..."),
        ("<html>", "ve.csv:1: url: expected a column of that name: url,category_code,..."),
        ("url,x\n", "ve.csv:1: category_code: expected a column of that name: url,category_code,..."),
        (HEADER + "https://a.example/,NEWS\n", "ve.csv:2: csv: expected 6 columns, got 2"),
        (HEADER + row("https://a.example/") + row("a.example"),
         "ve.csv:3: url: expected a URL; for a host alone write https://a.example/"),
        (HEADER + row("javascript:alert(1)"),
         "ve.csv:2: url: expected an http or https URL, got 'javascript:alert(1)'"),
        (HEADER + '"https://a.example/\n', "ve.csv:2: csv: unexpected end of data"),
        (HEADER + "x" * 200_000, "ve.csv:2: csv: field larger than field limit (131072)"),
    ],
)  # fmt: skip
def test_a_bad_list_is_one_line_with_file_and_line(text, message):
    with pytest.raises(ConfigError) as caught:
        list(parse_list(text, "ve.csv", ("NEWS",)))
    assert str(caught.value) == message


def test_a_list_without_the_category_is_an_error_not_an_empty_round(tmp_path):
    (tmp_path / "ve.csv").write_text(HEADER + row("https://a.example/"))
    entry = ListConfig(path=str(tmp_path / "ve.csv"), categories=("HUMX", "NEWZ"))
    with pytest.raises(ConfigError, match=r"ve\.csv: category_code: expected a site of HUMX / NEWZ, found none$"):
        asyncio.run(read_list(entry))


def test_a_list_that_cannot_be_read_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.csv: no such file or directory$"):
        asyncio.run(read_list(ListConfig(path=str(tmp_path / "none.csv"))))
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"\xf1\n")
    with pytest.raises(ConfigError, match=r"latin\.csv:2: csv: expected text in UTF-8$"):
        asyncio.run(read_list(ListConfig(path=str(tmp_path / "latin.csv"))))
    (tmp_path / "large.csv").write_bytes(b"#" * (MAX_LIST_BYTES + 2))
    with pytest.raises(ConfigError, match=r"large\.csv: expected a list of at most 4 MiB$"):
        asyncio.run(read_list(ListConfig(path=str(tmp_path / "large.csv"))))


def test_each_site_is_measured_once_and_the_configured_name_counts(tmp_path):
    (tmp_path / "ve.csv").write_text(
        HEADER + row("https://b.example") + row("https://a.example") + row("https://c.example")
    )
    config = Config(
        sites=(SiteConfig(url="https://a.example/", name="A"), SiteConfig(url="https://a.example/", name="again")),
        lists=(ListConfig(path=str(tmp_path / "ve.csv")), ListConfig(path=str(tmp_path / "ve.csv"))),
    )
    found = asyncio.run(gather(config))
    assert [(site.url, site.name) for site in found] == [
        ("https://a.example/", "A"),
        ("https://b.example/", None),
        ("https://c.example/", None),
    ]


def test_given_urls_are_measured_instead_and_keep_their_configured_name():
    config = Config(sites=(SiteConfig(url="https://a.example/", name="A"), SiteConfig(url="https://b.example/")))
    found = asyncio.run(gather(config, ["https://z.example", "https://A.example", "https://a.example/"]))
    assert found == (SiteConfig(url="https://z.example/"), SiteConfig(url="https://a.example/", name="A"))


def test_the_recorded_lists_are_read_whole(test_data):
    for name, least in (("ve", 100), ("global", 100)):
        sites = asyncio.run(read_list(ListConfig(path=str(test_data / "lists" / f"{name}.csv"))))
        assert len(sites) > least
        assert {site.tags for site in sites} == {("news",)}


Answer = Callable[[bytes], bytes]


@asynccontextmanager
async def https_server(answer: Answer, monkeypatch, tmp_path) -> AsyncIterator[str]:
    """A web server on the loopback that gives each request's first line to `answer`; its URL."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("NO_PROXY", "*")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(request.split(b"\r\n")[0]))
            await writer.drain()
        except OSError:
            pass  # the client has seen enough
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


def fetched(answer: Answer, monkeypatch, tmp_path, path: str = "ve.csv") -> tuple[SiteConfig, ...]:
    async def fetch() -> tuple[SiteConfig, ...]:
        async with https_server(answer, monkeypatch, tmp_path) as url:
            return await read_list(ListConfig(url=url + path))

    return asyncio.run(fetch())


def response(body: bytes, head: bytes = b"HTTP/1.1 200 OK", headers: bytes = b"") -> bytes:
    return head + b"\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n" % (len(body), headers) + body


def test_a_list_is_fetched_over_https_redirects_followed(monkeypatch, tmp_path):
    def answer(request: bytes) -> bytes:
        if b"/old.csv" in request:
            return response(b"", b"HTTP/1.1 302 Found", b"Location: /ve.csv\r\n")
        return response((HEADER + row("https://a.example/")).encode())

    assert [site.url for site in fetched(answer, monkeypatch, tmp_path, "old.csv")] == ["https://a.example/"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (response(b"", b"HTTP/1.1 404 Not Found"), "expected a list, got status 404"),
        (response(b"", b"HTTP/1.1 302 Found", b"Location: /again\r\n"), "TooManyRedirects"),
        (response(b"", b"HTTP/1.1 302 Found", b"Location: http://127.0.0.1:9/\r\n"), "a redirect away from https"),
        (response(b"x", headers=b"Content-Encoding: gzip\r\n"), "expected a list"),
        (b"nonsense\r\n\r\n", "RemoteProtocolError"),
    ],
    ids=["404", "redirect-loop", "redirect-to-http", "gzip", "no-http"],
)
def test_a_list_that_cannot_be_fetched_says_so_in_one_line(answer, problem, monkeypatch, tmp_path):
    with pytest.raises(ListUnavailable, match=problem) as caught:
        fetched(lambda _: answer, monkeypatch, tmp_path, "ve.csv?token=geheim")
    assert "\n" not in str(caught.value)
    assert "/ve.csv" in str(caught.value) or "redirect away" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_list_without_end_is_cut(monkeypatch, tmp_path):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
    with pytest.raises(ConfigError, match=r"expected a list of at most 4 MiB$"):
        fetched(lambda _: head + b"#" * (MAX_LIST_BYTES + 65536), monkeypatch, tmp_path)


def test_a_list_is_not_fetched_from_a_server_nobody_vouches_for(monkeypatch, tmp_path):
    async def fetch() -> None:
        async with https_server(lambda _: b"", monkeypatch, tmp_path) as url:
            monkeypatch.delenv("SSL_CERT_FILE")
            await read_list(ListConfig(url=url))

    with pytest.raises(ListUnavailable, match="its certificate is not valid"):
        asyncio.run(fetch())
