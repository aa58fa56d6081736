"""A feed reader that people use follows the feed, from the first block to the last that is lifted, and sees exactly that.

`reader` keeps what it has read in a database of its own, asks only for what has changed, and tells entries by their ids.
"""

import http.client
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from alert_cases import CANTV, MOVILNET, block
from msgspec.structs import replace
from web_cases import Watched, served

from monitor.models import Event
from monitor.store import Store

reader = pytest.importorskip("reader", reason="the package reader is not installed")

SITE, OTHER = "www.lapatilla.com", "elpitazo.net"


class Between:
    """Passes a reader's questions on, and remembers them: (If-None-Match, If-Modified-Since, status). no_tags: hides ETags."""

    def __init__(self, port: int) -> None:
        self.upstream, self.asked, self.no_tags = port, [], False
        self.port = 0


@pytest.fixture
def between(tmp_path: Path) -> Iterator[tuple[Between, Store]]:
    url = f"sqlite:{tmp_path / 'feed.db'}"
    with Store.open(url) as store, served(url, Watched()) as client:
        passing = Between(int(client.base_url.port or 0))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asking = http.client.HTTPConnection("127.0.0.1", passing.upstream, timeout=30)
                told = {name: value for name, value in self.headers.items() if name != "Host"}
                asking.request("GET", self.path, headers=told)
                answer = asking.getresponse()
                body = answer.read()
                known = (self.headers["If-None-Match"], self.headers["If-Modified-Since"], answer.status)
                passing.asked.append(known)
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() in ("content-type", "content-encoding", "last-modified") or (
                        name.lower() == "etag" and not passing.no_tags
                    ):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                asking.close()

            def log_message(self, *_: Any) -> None: ...

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            passing.port = server.server_port
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield passing, store
            finally:
                server.shutdown()
                thread.join()


class Reading:
    """Somebody's feed reader."""

    def __init__(self, between: Between, folder: Path) -> None:
        self._reader = reader.make_reader(str(folder / "reader.sqlite"), feed_root="")
        self._feed = f"http://127.0.0.1:{between.port}/feed.atom"
        self._reader.add_feed(self._feed)

    def polled(self) -> tuple[int, int]:
        """Ask once; how many entries are new, how many have changed."""
        done = self._reader.update_feed(self._feed)
        return (done.new, done.modified) if done is not None else (0, 0)

    def entries(self) -> dict[str, str]:
        """The title of each, by the id of its event."""
        return {one.id.rpartition("/")[2]: one.title for one in self._reader.get_entries()}

    def updated(self) -> Any:
        """Of the feed."""
        return self._reader.get_feed(self._feed).updated

    def close(self) -> None:
        self._reader.close()


@pytest.fixture
def reading(between: tuple[Between, Store], tmp_path: Path) -> Iterator[Reading]:
    one = Reading(between[0], tmp_path)
    yield one
    one.close()


def next_revision(event: Event, **more: Any) -> Event:
    return replace(event, revision=event.revision + 1, **more)


def test_a_reader_sees_the_story_from_the_first_block_to_the_last_unblocking(between, reading):
    passing, store = between
    assert (reading.polled(), reading.entries()) == ((0, 0), {})

    first = block(SITE, 0)
    store.save_events([first])
    assert reading.polled() == (1, 0)
    assert reading.entries() == {first.id: f"{SITE} is blocked on CANTV"}

    store.save_events([next_revision(first, measurements=9, confidence=0.99)])
    updated = reading.updated()
    reading.polled()
    assert reading.updated() == updated, "that it is surer now is no news"

    spread, other = block(SITE, 20, network=MOVILNET), block(OTHER, 25, network=CANTV)
    store.save_events([spread, other])
    assert reading.polled() == (2, 0)
    long_ago(store, 2)  # the reader knows whole seconds
    reading.polled()
    updated = reading.updated()

    first = next_revision(first, methods=("dns.nxdomain", "tls.reset"))
    store.save_events([first])
    assert reading.polled() == (0, 1)
    assert reading.updated() > updated, "another method is"

    for event, time in ((first, 60), (other, 65), (spread, 70)):
        store.save_events([next_revision(event, ended=block(SITE, time).started)])
        assert reading.polled() == (0, 1)
    assert reading.entries() == {
        first.id: f"{SITE} was blocked on CANTV",
        other.id: f"{OTHER} was blocked on CANTV",
        spread.id: f"{SITE} was blocked on Movilnet",
    }
    assert reading.polled() == (0, 0)
    assert passing.asked[0][0] is None
    assert all(known is not None for known, _, _ in passing.asked[1:])
    assert passing.asked[-1][2] == 304


def long_ago(store: Store, minutes: int) -> None:
    """As if all had changed so long before."""
    with store._database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE events SET changed = changed - {minutes * 60 * 10**6}")


def test_a_reader_that_knows_no_tags_asks_by_time_and_misses_nothing(between, reading):
    passing, store = between
    passing.no_tags = True
    store.save_events([block(SITE, 0)])
    long_ago(store, 10)
    assert reading.polled() == (1, 0)
    assert reading.polled() == (0, 0)
    assert passing.asked[-1][1] is not None
    assert passing.asked[-1][2] == 304
    # What happened earlier, and was uploaded only now.
    store.save_events([block(OTHER, -600, -500)])
    assert reading.polled() == (1, 0)
    store.save_events([next_revision(block(SITE, 0), methods=("tls.reset",))])
    assert reading.polled() == (0, 1)


def test_a_time_that_is_no_time_gets_the_feed(between):
    passing, store = between
    store.save_events([block(SITE, 0)])
    long_ago(store, 10)
    url = f"http://127.0.0.1:{passing.upstream}/feed.atom"
    for since, status in (("yesterday", 200), ("", 200), (formatdate(0, usegmt=True), 200), ("\xff" * 9, 200)):
        answer = httpx.get(url, headers={"If-Modified-Since": since.encode("latin-1")}, trust_env=False)
        assert answer.status_code == status
    known = {"If-Modified-Since": answer.headers["Last-Modified"]}
    assert httpx.get(url, headers=known, trust_env=False).status_code == 304
    assert httpx.get(url, headers=known | {"If-None-Match": '"other"'}, trust_env=False).status_code == 200
