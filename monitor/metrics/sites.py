"""The metrics of each site on each vantage. Of URLs that share a host the one that is worst off is told."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from prometheus_client.core import Metric

from monitor.metrics import words
from monitor.metrics.catalogue import streamed
from monitor.metrics.scrape import PERIODS, Newest, Pair, Scrape
from monitor.models import Status
from monitor.outcome import STEPS, reason

_WORSE = (Status.OK, Status.INCONCLUSIVE, Status.DOWN, Status.GEOBLOCKED, Status.BLOCKED)
_TAG = "tag:"

Labels = tuple[str, ...]
Told = list[tuple[Labels, Newest]]
Samples = Iterator[tuple[Labels, float]]


def families(scrape: Scrape) -> Iterator[Metric]:
    """One metric after the other."""
    told = _told(scrape)
    by_name: Mapping[str, Callable[[Newest], Samples]] = {
        "site_status": _status,
        "site_confidence": _confidence,
        "site_blocked_methods": _methods,
        "site_failure": _failure,
        "site_step_duration_seconds": _durations,
        "site_last_measurement_timestamp_seconds": _started,
    }
    for name, samples in by_name.items():
        yield streamed(name, partial(_of_all, told, samples))


def _of_all(told: Told, samples: Callable[[Newest], Samples]) -> Samples:
    for labels, one in told:
        for more, value in samples(one):
            yield (*labels, *more), value


def _told(scrape: Scrape) -> Told:
    worst: dict[Labels, Newest] = {}
    for (url, vantage), one in fresh(scrape):
        before = worst.get((one.site, vantage))
        if _is_wanted(scrape, url, one.site) and (before is None or _badness(before) < _badness(one)):
            worst[one.site, vantage] = one
    return [
        ((words.site(site), vantage, one.asn), one) for (site, vantage), one in sorted(worst.items(), key=_by_labels)
    ]


def fresh(scrape: Scrape) -> Iterator[tuple[Pair, Newest]]:
    """What is watched, and of which something was heard lately."""
    return filter(partial(_is_fresh, scrape), scrape.newest.items())


def _by_labels(item: tuple[Labels, Newest]) -> Labels:
    return item[0]


def _badness(one: Newest) -> tuple[int, float]:
    return _WORSE.index(one.verdict.status), one.started.timestamp()


def _is_fresh(scrape: Scrape, item: tuple[Pair, Newest]) -> bool:
    (url, vantage), one = item
    if url not in scrape.watched or vantage not in scrape.networks:
        return False
    fresh_s = PERIODS * max(scrape.watched[url], one.period_s)
    if (url, vantage) in scrape.running:  # a site that times out takes longer than a short period
        fresh_s += scrape.site_budget_s
    return scrape.age_s(one.heard) <= fresh_s


def _is_wanted(scrape: Scrape, url: str, site: str) -> bool:
    wanted = scrape.wanted
    return not wanted or site in wanted or any(_TAG + tag in wanted for tag in scrape.tags.get(url, ()))


def _status(one: Newest) -> Samples:
    for status in Status:
        yield (status.value,), float(one.verdict.status is status)


def _confidence(one: Newest) -> Samples:
    if one.verdict.confidence is not None:
        yield (), one.verdict.confidence


def _methods(one: Newest) -> Samples:
    if one.verdict.status is Status.BLOCKED:
        for method in _once(map(words.method, one.verdict.methods)):
            yield (method,), 1.0


def _failure(one: Newest) -> Samples:
    why = reason(one.outcome, one.verdict)
    if why is not None:
        yield (why[0], words.failure(why[1])), 1.0


def _durations(one: Newest) -> Samples:
    for step in STEPS:
        if step in one.outcome.durations:
            yield (step,), one.outcome.durations[step]


def _started(one: Newest) -> Samples:
    yield (), one.started.timestamp()


def _once(texts: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys(texts)
