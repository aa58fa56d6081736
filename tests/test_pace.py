"""What the running service says of its pace, and of what a reload changes."""

import signal

import pytest
from alone import written

pytestmark = pytest.mark.root


def test_a_budget_that_slows_it_down_is_told_once(tmp_path, alone):
    urls = [f"https://s{i}.example/" for i in range(20)]
    file = written(tmp_path, "name: here", more=f"sites: {urls}\nschedule: {{every: 10s, budget: 250KB}}\n")
    service = alone(file)
    service.until(lambda: service.said("started"))
    service.process.send_signal(signal.SIGHUP)
    service.until(lambda: service.said("reloaded"))
    [told] = service.said("pace")
    assert told.startswith("sites are measured every ")
    assert "instead of every 10 s, for a budget of 250 KB a day; " in told


def test_what_a_reload_takes_back_is_not_told(tmp_path, alone):
    file = written(tmp_path, "name: here")
    before = file.read_text()
    service = alone(file)
    service.until(lambda: service.said("started"))
    file.write_text(before + "web: {listen: '127.0.0.1:9999'}\n")
    service.process.send_signal(signal.SIGHUP)
    service.until(lambda: len(service.said("reloaded")) == 1)
    assert service.said("reload") == ["web: another value takes effect after a restart"]
    file.write_text(before)
    service.process.send_signal(signal.SIGHUP)
    service.until(lambda: len(service.said("reloaded")) == 2)
    assert len(service.said("reload")) == 1
