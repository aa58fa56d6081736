"""Where the service goes on after a restart."""

from datetime import timedelta
from typing import Any

from store_cases import BEGAN, CANTV, SITES, event, verdict

from monitor.models import Status
from monitor.resumption import resumed
from monitor.standing import Seen
from monitor.store import Latest

SITE = SITES[0]
URL = f"https://{SITE}/"
SOON = BEGAN + timedelta(minutes=5)


def latest(status: Status, **more: Any) -> Latest:
    known: dict[str, Any] = {
        "id": "m1",
        "site": SITE,
        "url": URL,
        "vantage": "cantv",
        "network": CANTV,
        "started": BEGAN,
    }
    return Latest(**(known | more), verdict=verdict(status))


def test_a_site_goes_on_from_its_newest_measurement_on_any_vantage():
    other = latest(Status.OK, vantage="movilnet", started=BEGAN - timedelta(minutes=1))
    assert resumed([latest(Status.OK), other], [], SOON).last == {URL: BEGAN}


def test_a_block_that_a_stop_kept_from_being_confirmed_is_measured_at_once():
    before = resumed([latest(Status.BLOCKED)], [], SOON)
    assert before.last == {}
    assert before.seen == []


def test_a_block_of_hours_ago_waits_for_its_turn():
    assert resumed([latest(Status.BLOCKED)], [], BEGAN + timedelta(hours=3)).last == {URL: BEGAN}


def test_a_block_with_an_event_is_known():
    active = event(site=SITE, network=CANTV, ended=None)
    assert resumed([latest(Status.BLOCKED)], [active], SOON).seen == [
        (URL, "cantv", Seen(status=Status.BLOCKED, asn=8048))
    ]


def test_what_is_inconclusive_is_nothing_to_go_on_from():
    assert resumed([latest(Status.INCONCLUSIVE)], [], SOON).seen == []
