"""/metrics of a real `almenara run` in the lab: a block, `kill -9`, a reload that fails, a counter that never goes back."""

import pytest
from lab_service import Running, lab, names, running
from metrics_cases import Series, counters, labels, named, of, series

from monitor.lab.box import Lab

__all__ = ["lab", "names", "running"]  # fixtures
pytestmark = [pytest.mark.lab, pytest.mark.slow]


def scraped(service: Running) -> Series:
    status, text = service.request("GET", "/metrics")
    return series(text + "\n") if status == 200 else {}


def told(service: Running, name: str, **its: str) -> bool:
    return of(scraped(service), name, **its) == 1


def no_less(before: Series, after: Series) -> None:
    assert {key for key, value in counters(before).items() if after.get(key, -1) < value} == set()


def test_a_block_is_told_with_its_reason_and_kill_9_takes_nothing_back(lab: Lab, running: Running, names: list[str]):
    running.configure(every="30s")
    running.start()
    on = {"site": names[0], "vantage": "cantv", "asn": "8048"}
    running.until(lambda: told(running, "site_status", status="ok", **on))
    number = lab.censor("cantv", "tls-reset", names[0])
    try:
        running.until(lambda: told(running, "site_status", status="blocked", **on), 120)
        running.until(lambda: told(running, "site_failure", step="tls", failure="connection_reset", **on))
        running.until(lambda: len(running.blocked(names[0])) >= 2)
        before = scraped(running)
        assert [one["method"] for one in labels(named(before, "site_blocked_methods"))] == ["tls.reset"]
        assert (of(before, "store_up"), of(before, "vantage_up", vantage="cantv")) == (1, 1)
        assert [*named(before, "control_up").values()] == [1]
        assert running.process is not None
        running.process.kill()
        running.process.wait()
        running.start()
        after = running.until(lambda: scraped(running))
        no_less(before, after)
        assert of(after, "site_status", status="blocked", **on) == 1
        assert of(after, "site_failure", step="tls", failure="connection_reset", **on) == 1
        running.file.write_text(running.file.read_text() + "nonsense: 1\n")
        assert running.request("POST", "/-/reload")[0] == 400
        running.until(lambda: told(running, "reloads_total", result="failure"))
        assert of(scraped(running), "config_last_reload_successful") == 0
        no_less(after, scraped(running))
        assert running.said("bug") == []
    finally:
        lab.lift(number)
    assert running.stop() == 0
