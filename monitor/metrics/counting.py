"""What a measurement adds to the counters that the store keeps."""

from bisect import bisect_left
from collections import Counter

from monitor.config import Config
from monitor.metrics import words
from monitor.models import Dns, Measurement, Purpose
from monitor.outcome import dns_failure, operations
from monitor.store import Counts, Tallied, Tally

# Upper bounds in seconds. A step may take `measure: timeout`, 10 s by default. Persisted: they may be added to.
BUCKETS = ("0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0", "+Inf")
_BOUNDS = tuple(map(float, BUCKETS))


class Counting:
    """By a configuration, which names the resolvers."""

    def __init__(self, config: Config) -> None:
        self.resolvers = {vantage.name: words.Resolvers(config, vantage) for vantage in config.vantages}
        self._unknown = words.Resolvers(config, None)

    def of(self, measurement: Measurement) -> Counts:
        """Steps on the vantage's own path, and the questions to every resolver."""
        counts: Counter[Tally] = Counter()
        vantage = measurement.vantage
        for step, seen, failure in operations(measurement):
            took_s = max(0.0, seen.duration)
            counts[Tally(Tallied.STEP_BUCKETS, vantage, step, BUCKETS[bisect_left(_BOUNDS, took_s)])] += 1
            counts[Tally(Tallied.STEP_MICROSECONDS, vantage, step)] += round(took_s * 1e6)
            if failure:
                counts[Tally(Tallied.STEP_FAILURES, vantage, step, words.failure(failure))] += 1
        resolvers = self.resolvers.get(vantage, self._unknown)
        questions = [seen for seen in measurement.dns if seen.purpose is Purpose.SITE]
        answered = {(seen.resolver, seen.name) for seen in questions if seen.answers}
        for question in questions:
            counts[_query(vantage, resolvers.name(question), question, answered)] += 1
        return counts


def _query(vantage: str, resolver: str, question: Dns, answered: set[tuple[str, str]]) -> Tally:
    result = words.FAILURE if dns_failure(question, answered) else words.OK
    return Tally(Tallied.RESOLVER_QUERIES, vantage, resolver, result)
