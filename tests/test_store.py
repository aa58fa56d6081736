"""What is stored comes back as it was, in order, filtered, counted; with SQLite and PostgreSQL alike."""

import base64
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import msgspec
import pytest
from store_cases import BEGAN, CANTV, METHODS, SITES, drawn, event, real, small, verdict

from monitor.classify import measurements as in_file
from monitor.models import Certificate, Incident, Kind, Measurement, Network, Point, Status, Tls
from monitor.outcome import outcome
from monitor.store import Latest, Store, Wanted, locate
from monitor.store.wanted import MOST_IDS
from monitor.verdict import judge

HOUR = timedelta(hours=1)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as store:
        yield store


def in_order(found: list[Measurement]) -> list[Measurement]:
    return sorted(found, key=lambda one: (one.started, one.id))


def history(count: int = 400, seed: int = 1) -> list[Measurement]:
    chance = Random(seed)
    return [drawn(chance, number) for number in range(count)]


# --- measurements ----------------------------------------------------------------------------------------------------


def test_what_is_stored_comes_back_as_it_was(store: Store, store_url: str) -> None:
    kept = [real(), small(1), small(2, verdict=None)]
    assert store.append(kept) == 3
    assert [store.measurement(one.id) for one in kept] == kept
    assert store.measurement("another") is None
    with Store.open(store_url, create=False) as again:
        assert list(again.measurements()) == in_order(kept)


def test_recordings_come_back_as_they_were(store: Store, test_data: Path) -> None:
    kept = []
    for file in sorted((test_data / "ooni" / "measurements").iterdir()):
        for _, found in in_file(file):
            assert isinstance(found, Measurement)
            kept.append(msgspec.structs.replace(found, id=file.name, verdict=judge(found)))
    assert store.append(kept) == len(kept) > 20
    assert list(store.measurements()) == in_order(kept)


def test_a_known_id_is_ignored_whatever_comes_with_it(store: Store) -> None:
    first = small(1)
    other = small(1, site=SITES[1], verdict=verdict(Status.BLOCKED))
    assert store.append([first, other, small(2)]) == 2
    assert store.append([other, small(2), small(3)]) == 1
    assert store.append([]) == 0
    assert list(store.measurements()) == [first, small(2), small(3)]
    assert store.totals() == {("cantv", Status.OK): 3}


def test_long_answers_come_in_order_and_whole(store: Store) -> None:
    at_once = [small(number, started=BEGAN) for number in range(450)]
    Random(1).shuffle(at_once)
    store.append([*at_once, small(1000), small(2000, started=BEGAN - HOUR)])
    ids = [one.id for one in store.measurements()]
    assert ids == ["m002000", *sorted(one.id for one in at_once), "m001000"]
    assert [one.id for one in store.measurements(Wanted(newest_first=True))] == ids[::-1]
    assert [one.id for one in store.measurements(Wanted(limit=321))] == ids[:321]


def test_a_reader_turns_pages_with_a_cursor(store: Store) -> None:
    store.append(history())
    for newest_first in (False, True):
        everything = list(store.measurements(Wanted(newest_first=newest_first)))
        pages: list[Measurement] = []
        while page := list(
            store.measurements(
                Wanted(newest_first=newest_first, limit=37, after=(pages[-1].started, pages[-1].id) if pages else None)
            )
        ):
            pages += page
        assert pages == everything


def test_filters_leave_what_was_asked_for(store: Store) -> None:
    kept = history()
    store.append(kept)
    chance = Random(2)
    statuses = Counter()
    for _ in range(150):
        wanted = Wanted(
            site=chance.choice([None, *SITES, "never.example"]),
            asn=chance.choice([None, 8048, 27889, 1]),
            vantage=chance.choice([None, None, "home", "mars"]),
            status=chance.choice([None, *Status]),
            method=chance.choice([None, None, "tls.reset", "tls", "dns.bogon"]),
            since=chance.choice([None, BEGAN + 20 * HOUR]),
            until=chance.choice([None, BEGAN + 50 * HOUR]),
            ids=chance.choice([None, None, tuple(one.id for one in kept[::3])]),
            newest_first=chance.random() < 0.5,
        )
        found = list(store.measurements(wanted))
        expected = in_order([one for one in kept if passes(one, wanted)])
        assert found == (expected[::-1] if wanted.newest_first else expected)
        statuses.update(len(found) > 0 for _ in "x")
    assert min(statuses[True], statuses[False]) > 10


def passes(one: Measurement, wanted: Wanted) -> bool:
    return (
        wanted.site in (None, one.site)
        and wanted.asn in (None, one.network.asn)
        and wanted.vantage in (None, one.vantage)
        and (wanted.status is None or (one.verdict is not None and one.verdict.status is wanted.status))
        and (wanted.method is None or (one.verdict is not None and wanted.method in one.verdict.methods))
        and (wanted.since is None or one.started >= wanted.since)
        and (wanted.until is None or one.started < wanted.until)
        and (wanted.ids is None or one.id in wanted.ids)
    )


def test_too_many_ids_at_once_are_a_mistake(store: Store) -> None:
    with pytest.raises(ValueError, match="at most"):
        list(store.measurements(Wanted(ids=tuple(map(str, range(MOST_IDS + 1))))))


def test_points_say_of_each_judged_measurement_what_detection_needs(store: Store) -> None:
    kept = history()
    store.append(kept)
    expected = [
        Point(
            id=one.id, site=one.site, network=one.network, probe=one.probe, started=one.started,
            status=one.verdict.status, methods=one.verdict.methods, confidence=one.verdict.confidence,
            confirmed=one.verdict.confirmed, rule=one.verdict.rule, vantage=one.vantage, url=one.url,
        )
        for one in in_order(kept) if one.verdict
    ]  # fmt: skip
    assert list(store.points()) == expected
    later = BEGAN + 40 * HOUR
    assert list(store.points(since=later, site=SITES[0], asn=8048)) == [
        one for one in expected if one.started >= later and one.site == SITES[0] and one.network.asn == 8048
    ]
    assert list(store.points(site="never.example")) == []


def test_the_newest_verdict_of_each_url_and_vantage_is_known(store: Store) -> None:
    kept = [*history(), small(9000, url="https://elpitazo.net/otra", site="elpitazo.net")]
    store.append(kept[200:])
    store.append(kept[:200])  # late
    newest: dict[tuple[str, str], Measurement] = {}
    for one in kept:
        known = newest.get((one.url, one.vantage))
        if one.verdict and (known is None or one.started > known.started):
            newest[one.url, one.vantage] = one
    found = store.latest()
    assert {(one.url, one.vantage): one.started for one in found} == {key: one.started for key, one in newest.items()}
    for one in found:
        of = newest[one.url, one.vantage]
        assert any(
            one == Latest(id=same.id, site=of.site, url=of.url, vantage=of.vantage, network=same.network, started=of.started,
                          verdict=same.verdict, outcome=outcome(same))
            for same in kept if same.verdict and (same.url, same.vantage, same.started) == (of.url, of.vantage, of.started)
        )  # fmt: skip


def test_a_certificate_is_kept_once_and_never_mixed_up(store: Store) -> None:
    def seen(*ders: bytes, **more: str) -> Tls:
        chain = tuple(
            Certificate(
                **({"sha256": hashlib.sha256(der).hexdigest(), "der": base64.b64encode(der).decode()} | more),
                subject="CN=x", issuer="CN=y", names=(), not_before=None, not_after=None,
            )
            for der in ders
        )  # fmt: skip
        return Tls(
            hop=0, attempt=1, started=0.1, duration=0.1, failure=None, address="192.0.2.1", port=443, sources=(),
            server_name="x", chain=chain,
        )  # fmt: skip

    large = Random(1).randbytes(50_000)
    odd = [
        seen(b"leaf", large),
        seen(b"leaf", b"other"),
        seen(b"leaf", sha256="0" * 64),  # a fingerprint that is not its own
        seen(b"leaf", der=""),  # taken out by the scrubber
        seen(b"leaf", der="="),  # what a reader could take for our mark
        seen(b"leaf", der="bGVhZg=="[:-1]),
        seen(b"leaf", sha256="é"),
        seen(b"leaf", sha256=""),
    ]
    kept = [small(number, tls=(tls,)) for number, tls in enumerate([*odd, *odd[:1] * 20])]
    store.append(kept)
    assert list(store.measurements()) == kept
    assert store.used_bytes() < 20 * len(large)
    assert [store.measurement(one.id) for one in kept] == kept


# --- counts ----------------------------------------------------------------------------------------------------------


def counted(points: list[tuple[Point, str]], seconds: int, *, sites: bool, methods: bool) -> Counter:
    counts: Counter = Counter()
    for point, vantage in points:
        started = datetime.fromtimestamp(point.started.timestamp() // seconds * seconds, UTC)
        for method in point.methods if methods else (None,):
            site = point.site if sites else None
            counts[started, site, point.network.asn, vantage, point.status, method] += 1
    return counts


def assert_counts_are_right(store: Store, vantages: dict[str, str], points: list[Point]) -> None:
    told = [(point, vantages[point.id]) for point in points]
    for every, seconds in (("hour", 3600), ("day", 86_400)):
        for sites in (False, True):
            for methods in (False, True):
                found = Counter()
                for one in store.rollups(every=every, sites=sites, methods=methods):
                    assert one.count > 0
                    found[one.started, one.site, one.asn, one.vantage, one.status, one.method] += one.count
                assert found == counted(told, seconds, sites=sites, methods=methods)


def test_counts_are_those_of_the_measurements_whatever_happens(store: Store) -> None:
    kept = history(600)
    vantages = {one.id: one.vantage for one in kept}
    for start in range(0, len(kept), 70):
        store.append(kept[start : start + 90])
    assert_counts_are_right(store, vantages, list(store.points()))

    chance = Random(3)
    store.rejudge(lambda _: verdict(chance.choice(list(Status)), chance.choice(METHODS)), 2, lambda done, of: None)
    points = list(store.points())
    assert len(points) == 600
    assert_counts_are_right(store, vantages, points)

    totals = store.totals()
    store.retain(age_s=10 * 3600, size=None, now=BEGAN + 60 * HOUR)
    assert 0 < store.count() < 600
    assert_counts_are_right(store, vantages, points)
    assert store.totals() == totals == Counter((vantages[point.id], point.status) for point in points)


def test_counts_can_be_narrowed(store: Store) -> None:
    store.append(history(600))
    everything = list(store.rollups(every="day", sites=True, methods=True))
    first, last = (BEGAN + 24 * HOUR).date(), (BEGAN + 48 * HOUR).date()
    for wanted in (
        Wanted(site=SITES[0], method="tls.reset"),
        Wanted(asn=27889, method="tls.reset"),
        Wanted(vantage="home", status=Status.BLOCKED),
        Wanted(since=BEGAN + 24 * HOUR, until=BEGAN + 48 * HOUR),
        Wanted(site=SITES[1], asn=8048, vantage="cantv", since=BEGAN + 24 * HOUR),
    ):
        found = list(store.rollups(wanted, every="day", sites=True, methods=True))
        assert found
        assert found == [
            one
            for one in everything
            if wanted.site in (None, one.site)
            and wanted.asn in (None, one.asn)
            and wanted.vantage in (None, one.vantage)
            and wanted.status in (None, one.status)
            and wanted.method in (None, one.method)
            and (wanted.since is None or one.started.date() >= first)
            and (wanted.until is None or one.started.date() <= last)
        ]
    assert list(store.rollups(Wanted(site="never.example"))) == []


def test_many_counts_come_whole(store: Store) -> None:
    store.append([small(number, site=f"s{number % 2500}.example") for number in range(6000)])
    counts = [one.count for one in store.rollups(sites=True)]
    assert len(counts) > 5000
    assert sum(counts) == 6000


# --- judged again ----------------------------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


def test_judging_again_goes_on_where_it_was_interrupted(store: Store) -> None:
    store.append([real(), *(small(number) for number in range(1, 350))])
    judged: Counter[str] = Counter()
    patience = 250

    def fresh(one: Measurement):
        if sum(judged.values()) == patience:
            raise Interrupted
        judged[one.id] += 1
        return verdict(Status.BLOCKED if one.id < "m000200" else Status.OK, ("tls.reset",), rules_version=2)

    told: list[tuple[int, int]] = []
    with pytest.raises(Interrupted):
        store.rejudge(fresh, 2, lambda done, of: told.append((done, of)))
    patience = 10_000
    again = store.rejudge(fresh, 2, lambda done, of: told.append((done, of)))
    assert again.total == 350
    assert again.changed == 350
    assert sum(again.changes.values()) == 350
    assert again.changes[Status.OK, Status.BLOCKED] == 199
    assert max(judged.values()) == 2  # those of the transaction that was not
    assert sum(judged.values()) == 400
    assert told == [(100, 350), (200, 350), (300, 350), (350, 350)]
    assert {one.verdict.rules_version for one in store.measurements() if one.verdict} == {2}
    assert store.rejudge(fresh, 2, lambda done, of: None).changed == 0


def test_judging_again_leaves_the_facts(store: Store) -> None:
    kept = [real(), small(1, verdict=None)]
    store.append(kept)
    fresh = verdict(Status.DOWN, ("a.b",), reasons=())
    assert store.rejudge(lambda one: fresh, 7, lambda done, of: None).changes == {
        (Status.BLOCKED, Status.DOWN): 1, (None, Status.DOWN): 1,
    }  # fmt: skip
    assert list(store.measurements()) == [msgspec.structs.replace(one, verdict=fresh) for one in in_order(kept)]


# --- events and state ------------------------------------------------------------------------------------------------


def test_events_are_replaced_by_their_newer_selves(store: Store) -> None:
    other = event("other", site=None, network=Network(), kind=Kind.SILENCE, started=BEGAN - HOUR)
    store.save_events([event(), other])
    ended = event(revision=2, ended=BEGAN + HOUR, ended_range=(BEGAN + HOUR, None))
    incident = Incident(id="i", revision=1, state="started", started=BEGAN, ended=None, events=(ended,))
    store.save_events([event(), ended], [incident])
    assert store.events() == [other, ended]
    assert store.event(ended.id) == ended
    assert store.event("none") is None
    assert store.incidents() == [incident]
    store.save_events([], [msgspec.structs.replace(incident, revision=2, ended=BEGAN + HOUR)])
    assert [one.revision for one in store.incidents()] == [2]


def test_events_are_found_by_what_they_are_about(store: Store) -> None:
    ended = event("a", ended=BEGAN + HOUR)
    silence = event("b", site=None, kind=Kind.SILENCE, network=Network(asn=27889), started=BEGAN + 5 * HOUR)
    store.save_events([ended, silence])
    assert store.events(kind=Kind.SILENCE) == store.events(asn=27889) == store.events(active=True) == [silence]
    assert store.events(site=SITES[0]) == store.events(active=False) == store.events(asn=8048) == [ended]
    assert store.events(site="never.example") == []
    assert store.events(since=BEGAN + 2 * HOUR) == [silence]
    assert store.events(until=BEGAN + 2 * HOUR) == [ended]
    assert store.events(limit=1) == [ended]


def test_small_things_are_remembered(store: Store, store_url: str) -> None:
    assert store.recall("budget") is None
    store.remember("budget", b"\x00\xff")
    store.remember("budget", b"")
    store.remember("other", b"x" * 100_000)
    with Store.open(store_url) as again:
        assert (again.recall("budget"), again.recall("other")) == (b"", b"x" * 100_000)


# --- retention -------------------------------------------------------------------------------------------------------


def test_what_is_too_old_goes_and_the_evidence_of_events_stays(store: Store) -> None:
    """A week of one site, measured on two networks, and another site; an event on one of them."""
    mine = [small(number) for number in range(1000)]
    others = [small(2000 + number, site=SITES[1], started=BEGAN + number * HOUR) for number in range(168)]
    elsewhere = [
        small(3000 + number, network=Network(asn=27889), started=BEGAN + number * HOUR) for number in range(168)
    ]
    store.append([*mine, *others, *elsewhere])
    began, ended = BEGAN + 20 * HOUR, BEGAN + 30 * HOUR
    store.save_events(
        [event(started=began, started_range=(began - HOUR, began), ended=ended, ended_range=(ended, None))]
    )
    now = BEGAN + 168 * HOUR
    gone = store.retain(age_s=100 * 3600, size=None, now=now)
    left = list(store.measurements())
    assert gone == 1336 - len(left)
    old = [one for one in left if one.started < now - 100 * HOUR]
    assert old == [one for one in mine if began - 2 * HOUR <= one.started <= ended + HOUR]
    assert len(left) - len(old) == sum(one.started >= now - 100 * HOUR for one in (*mine, *others, *elsewhere))
    assert store.retain(age_s=100 * 3600, size=None, now=now) == 0
    assert store.retain(age_s=None, size=None, now=now) == 0


def test_an_event_that_goes_on_keeps_its_evidence(store: Store) -> None:
    store.append([small(number) for number in range(500)])
    store.save_events([event(started=BEGAN, started_range=(None, BEGAN))])
    assert store.retain(age_s=3600, size=None, now=BEGAN + 1000 * HOUR) == 0
    store.save_events([event(started=BEGAN, started_range=(None, BEGAN), site=None, network=None)])
    assert store.retain(age_s=3600, size=None, now=BEGAN + 1000 * HOUR) == 0


def large(number: int) -> Measurement:
    return small(number, software=Random(number).randbytes(1500).hex())


def test_what_is_too_much_goes_the_oldest_first(store: Store, store_url: str) -> None:
    store.append([large(number) for number in range(3000)])
    before = store.used_bytes()
    assert before > 4_000_000
    gone = store.retain(age_s=None, size=before // 2, now=BEGAN)
    assert 1200 < gone < 1800
    assert before // 3 < store.used_bytes() <= before // 2
    ids = [point.id for point in store.points()]
    assert ids == [f"m{number:06}" for number in range(gone, 3000)]
    assert sum(one.count for one in store.rollups()) == 3000
    if store_url.startswith("sqlite:"):
        assert Path(store_url.removeprefix("sqlite:")).stat().st_size <= before * 0.6


def test_size_is_kept_by_giving_up_the_middle_of_long_events(store: Store) -> None:
    store.append([large(number) for number in range(0, 6000, 2)])  # 41 days, each 20 minutes
    store.save_events([event(started=BEGAN, started_range=(None, BEGAN), ended=BEGAN + 990 * HOUR)])
    before = store.used_bytes()
    assert store.retain(age_s=None, size=before * 2 // 3, now=BEGAN) > 500
    assert store.used_bytes() <= before * 2 // 3
    week = timedelta(days=7) - HOUR
    started = [point.started for point in store.points()]
    assert sum(one < BEGAN + week for one in started) == 167 * 3
    assert sum(one > BEGAN + 990 * HOUR - week for one in started) >= 167 * 3
    store.retain(age_s=None, size=1, now=BEGAN)
    assert len(started) > store.count() >= 2 * 167 * 3  # what can go is gone, and no more


def test_certificates_go_with_the_last_measurement_that_saw_them(store: Store) -> None:
    der = Random(1).randbytes(300_000)
    certificate = Certificate(
        sha256=hashlib.sha256(der).hexdigest(), der=base64.b64encode(der).decode(), subject="", issuer="", names=(),
        not_before=None, not_after=None,
    )  # fmt: skip
    seen = Tls(
        hop=0, attempt=1, started=0.1, duration=0.1, failure=None, address="192.0.2.1", port=443, sources=(),
        server_name="x", chain=(certificate,),
    )  # fmt: skip
    store.append([small(0, tls=(seen,)), small(10, tls=(seen,)), small(20)])
    store.retain(age_s=3600, size=None, now=BEGAN + 2 * HOUR)
    assert [one.tls for one in store.measurements()] == [(seen,), ()]
    store.retain(age_s=3600, size=None, now=BEGAN + 4 * HOUR)
    assert [one.tls for one in store.measurements()] == [()]
    assert store.append([small(30, tls=(seen,))]) == 1
    assert [one.tls for one in store.measurements()] == [(), (seen,)]


# --- strangers' measurements -----------------------------------------------------------------------------------------

HOSTILE = (
    "'; DROP TABLE verdicts; --", "a\x00b", "\ud800", "é" * 5000, "x" * 100_000, "\u202eevil", "", "%s%(x)s:name", "日本",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_stored_and_found(store: Store, text: str) -> None:
    network = Network(asn=2**70, isp=text, country=text, source=text)
    evil = verdict(Status.BLOCKED, (text, f"{text},b") * 20, rule=text, rules_version=2**40, reasons=({text: text},))
    first = small(
        1, id=text, url=text, site=text, vantage=text, probe=text, network=network, verdict=evil, software=text
    )
    longer = small(2, id=text + "!", site=text + "!", network=network)
    assert store.append([first, longer]) == 2
    assert store.append([first, longer]) == 0
    whole = text.encode("utf-8", "replace").decode()
    found = store.measurement(text)
    assert found is not None
    assert (found.id, found.site, found.software, found.network.isp) == (whole, whole, whole, whole)
    assert store.count() == len(list(store.points())) == len(list(store.measurements())) == 2
    assert [one.started for one in store.measurements(Wanted(site=text))] == [first.started]
    assert [one.started for one in store.points(site=text + "!")] == [longer.started]
    assert [one.count for one in store.rollups(Wanted(site=text, vantage=text))] == [1]
    assert len(store.latest()) == 2
    store.save_events([event(id=text, site=text, network=network, methods=(text,))])
    assert [one.site for one in store.events(site=text)] == [whole]
    assert store.event(text) is not None
    assert store.rejudge(lambda _: evil, 3, lambda done, of: None).changed == 1


# --- several at once -------------------------------------------------------------------------------------------------


def test_several_may_write_and_read_at_once(new_store_url: str) -> None:
    """The same ids and counts from each of them: nothing is stored twice, or counted twice, or lost."""
    kept = history(300)
    new: list[int] = []
    failures: list[BaseException] = []

    def write(shift: int) -> None:
        try:
            with Store.open(new_store_url, patience_s=60) as store:
                for start in range(0, len(kept), 20):
                    part = kept[(start + shift) % 300 :][:20]
                    new.append(store.append(part))
                    list(store.points(site=SITES[0]))
        except BaseException as exc:
            failures.append(exc)
            raise

    threads = [threading.Thread(target=write, args=(100 * number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Store.open(new_store_url) as store:
        assert sum(new) == store.count() == 300
        assert_counts_are_right(store, {one.id: one.vantage for one in kept}, list(store.points()))


def test_an_answer_that_is_not_read_to_the_end_is_in_nobodys_way(store: Store) -> None:
    store.append([small(number) for number in range(450)])
    reading = store.measurements()
    next(reading)
    assert store.append([small(1000)]) == 1
    store.retain(age_s=3600, size=None, now=BEGAN + 1000 * HOUR)
    assert len(list(reading)) == 199  # what was read already


# --- places ----------------------------------------------------------------------------------------------------------


def test_the_store_has_a_place_of_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert locate("sqlite:x.db") == "sqlite:x.db"
    assert locate(None) == f"sqlite:{home}/.local/share/almenara/almenara.db"
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    assert locate(None) == f"sqlite:{home}/data/almenara/almenara.db"


@pytest.mark.parametrize("name", ["odd name?#%41;'\".db", ":memory:", "ñ.db", "file:x.db"])
def test_a_file_may_have_any_name_and_only_its_owner_reads_it(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    with Store.open(f"sqlite:{file}") as store:
        store.append([small(1)])
        kept = sorted(file.parent.iterdir())
        assert file in kept
        assert {one.stat().st_mode & 0o777 for one in kept} == {0o600}
        assert store.name == str(file)


def test_networks_are_told_apart(store: Store) -> None:
    networks = [CANTV, Network(asn=8048, isp="CANTV"), Network(asn=8048), Network(isp="CANTV"), Network(country="VE")]
    store.append([small(number, network=network) for number, network in enumerate(networks)])
    assert [point.network for point in store.points()] == networks
