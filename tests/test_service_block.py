"""The real `almenara run` in the lab: what it makes of a block, and that its vantages share a control."""

import json
import re
import signal

import pytest
from lab_service import SITES, lab, names, running

from monitor.models import Status
from monitor.store import Store

__all__ = ["lab", "names", "running"]  # fixtures
pytestmark = pytest.mark.lab


@pytest.mark.slow
def test_a_block_is_measured_again_at_once_and_an_event_when_the_detector_is_sure(lab, running, names):
    def pace(every: str) -> None:
        running.configure(every=every)
        before = len(running.said("reloaded"))
        running.process.send_signal(signal.SIGHUP)
        running.until(lambda: len(running.said("reloaded")) > before)

    running.start()
    running.until(lambda: len(running.stored()) >= 4 * SITES, 90)
    pace("90s")
    number = lab.censor("cantv", "tls-reset", names[0])
    try:
        running.until(lambda: running.said("verdict"), 120)  # a period, and what measuring takes
        first, second = running.until(lambda: len(found := running.blocked(names[0])) >= 2 and found[:2])
        assert (second.started - first.started).total_seconds() < 60  # a turn may come a quarter of a period early
        pace("10s")
        told = running.until(lambda: [line for line in running.said("event") if line["kind"] == "blocking"], 180)
        assert (told[0]["site"], told[0]["network"]["asn"], told[0]["change"]) == (names[0], 8048, "started")
    finally:
        lab.lift(number)
    assert running.stop() == 0
    assert len(running.blocked(names[0])) >= 4
    [event] = running.events()
    assert (event.site, event.methods, event.ended) == (names[0], ("tls.reset",), None)
    assert [line for line in running.said() if line.get("level") == "error"] == []


def test_two_vantages_share_one_control(lab, running):
    def served() -> int:
        text = running.request("GET", "/metrics", f"https://{lab.world.control.addresses[0]}", lab.world.helper)[1]
        return int(float(re.search(r'almenara_helper_requests_total\{result="measured"\} (\S+)', text)[1]))

    running.start()
    running.until(lambda: len(running.stored()) >= 2 * SITES)  # each vantage has learnt its own address
    running.until(lambda: json.loads(running.request("GET", "/healthz")[1])["last_measurement"])
    before, stored = served(), len(running.stored())
    running.until(lambda: len(running.stored()) >= stored + 8 * SITES)
    asked, measured = served() - before, len(running.stored()) - stored
    assert asked <= 0.75 * measured
    assert running.stop() == 0
    with Store.open(f"sqlite:{running.database}", create=False) as store:
        for measurement in store.measurements():
            assert measurement.verdict.status is Status.OK
            assert any(control.failure is None for control in measurement.controls)
