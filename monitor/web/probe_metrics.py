"""What a probe answers: blackbox_exporter's metrics, by its names, with its help texts and its zeros, and our verdict.

Where a visit did not get as far as a fact, the metric is 0 or absent exactly as blackbox_exporter has it, since people's
rules rely on that. Label values are from our own vocabularies or the configuration, never from a peer.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder

from monitor.metrics import words
from monitor.models import Http, Measurement, Status, Tls
from monitor.outcome import outcome, reason
from monitor.web.passage import Passage, passages

# As blackbox_exporter says it; prometheus-client's own constant changes with its version.
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text"

_HELP = {
    "probe_dns_lookup_time_seconds": "Returns the time taken for probe dns lookup in seconds",
    "probe_duration_seconds": "Returns how long the probe took to complete in seconds",
    "probe_failed_due_to_regex": "Indicates if probe failed due to regex",
    "probe_http_content_length": "Length of http content response",
    "probe_http_duration_seconds": "Duration of http request by phase, summed over all redirects",
    "probe_http_last_modified_timestamp_seconds": "Returns the Last-Modified HTTP response header in unixtime",
    "probe_http_redirects": "The number of redirects",
    "probe_http_ssl": "Indicates if SSL was used for the final redirect",
    "probe_http_status_code": "Response HTTP status code",
    "probe_http_uncompressed_body_length": "Length of uncompressed response body",
    "probe_http_version": "Returns the version of HTTP of the probe response",
    "probe_ip_addr_hash": "Specifies the hash of IP address. It's useful to detect if the IP address changes.",
    "probe_ip_protocol": "Specifies whether probe ip protocol is IP4 or IP6",
    "probe_ssl_earliest_cert_expiry": "Returns last SSL chain expiry in unixtime",
    "probe_success": "Displays whether or not the probe was a success",
    "probe_timeout_seconds": "Returns how long the probe timeout is in seconds",
    "probe_tls_version_info": "Returns the TLS version used or NaN when unknown",
    "almenara_probe_age_seconds": "How long ago the measurement that this tells of ended, in seconds",
    "almenara_probe_confidence": "The probability, 0 to 1, that the status is right",
    "almenara_probe_failure": "1 for the step at which the site did not open, and the reason",
    "almenara_probe_finished": "1 if the measurement ended within the timeout, 0 if it still goes on",
    "almenara_probe_info": "1, for the vantage that measured and the autonomous system it was in",
    "almenara_probe_method": "1 for each method of interference that was found",
    "almenara_probe_status": "1 for the status of the site on the vantage, 0 for the others",
}
_VERSIONS = {"TLSv1": "TLS 1.0", "TLSv1.1": "TLS 1.1", "TLSv1.2": "TLS 1.2", "TLSv1.3": "TLS 1.3"}
_PHASES = ("resolve", "connect", "tls", "processing", "transfer")
_NO_BODY = (204, 304)

Labels = tuple[tuple[str, str], ...]


class Probed(Struct, frozen=True, kw_only=True):
    """What there is to tell. measurement: None where it takes longer than the timeout; age_s: since it ended."""

    vantage: str
    timeout_s: float
    waited_s: float
    measurement: Measurement | None
    age_s: float = 0.0

    @property
    def success(self) -> bool:
        """Does the site open?"""
        verdict = self.measurement.verdict if self.measurement else None
        return verdict is not None and verdict.status is Status.OK


class Sample(Struct, frozen=True):
    """One value of one metric."""

    name: str
    value: float
    labels: Labels = ()


def exposition(samples: Iterable[Sample], accept: str = "") -> tuple[bytes, str]:
    """As Prometheus reads it, and its content type. accept: what the client says that it reads."""
    registry = CollectorRegistry()
    registry.register(_Collector(samples))
    if OPENMETRICS in accept:
        encode, media_type = choose_encoder(OPENMETRICS)  # never what the client says: it would be parsed
        return encode(registry), media_type
    return generate_latest(registry), TEXT_TYPE


def samples(probed: Probed) -> list[Sample]:
    """Everything about one probe."""
    measurement = probed.measurement
    found = [
        Sample("probe_success", float(probed.success)),
        Sample("probe_duration_seconds", measurement.runtime if measurement else probed.waited_s),
        Sample("probe_timeout_seconds", probed.timeout_s),
        Sample("probe_failed_due_to_regex", 0.0),
        Sample("almenara_probe_finished", float(measurement is not None)),
        *_visit(passages(measurement) if measurement else []),
    ]
    return found + (list(_verdict(probed, measurement)) if measurement else [])


class _Collector:
    def __init__(self, samples: Iterable[Sample]) -> None:
        # One value for one set of labels, or Prometheus takes none of it.
        distinct = {(sample.name, sample.labels): sample for sample in samples}
        self._samples = [sample for _, sample in sorted(distinct.items())]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Sorted by name, as blackbox_exporter's come."""
        families: dict[str, GaugeMetricFamily] = {}
        for sample in self._samples:
            names = [name for name, _ in sample.labels]
            family = families.setdefault(sample.name, GaugeMetricFamily(sample.name, _HELP[sample.name], labels=names))
            family.add_metric([value for _, value in sample.labels], sample.value)
        yield from families.values()


def _visit(way: list[Passage]) -> Iterator[Sample]:
    """blackbox_exporter's own. An empty way: nothing is known of it yet."""
    first, last = (way[0], way[-1]) if way else (None, None)
    page = last.page if last else None
    address = first.address if first and _is_address(first.address) else None
    yield Sample("probe_dns_lookup_time_seconds", first.lookup_s if first else 0.0)
    yield Sample("probe_ip_protocol", 0.0 if address is None else 6.0 if ":" in address else 4.0)
    yield Sample("probe_ip_addr_hash", 0.0 if address is None else float(address_hash(address)))
    yield Sample("probe_http_redirects", float(max(0, len(way) - 1)))
    yield Sample("probe_http_status_code", float((page and page.status) or 0))
    yield Sample("probe_http_version", 0.0 if page is None else _version(last.tls if last else None))
    yield Sample("probe_http_content_length", 0.0 if page is None else _content_length(page))
    yield Sample("probe_http_uncompressed_body_length", 0.0 if page is None else float(page.body_length))
    yield Sample("probe_http_ssl", float(page is not None and last is not None and last.tls is not None))
    for phase, seconds in _phases(way).items():
        yield Sample("probe_http_duration_seconds", seconds, (("phase", phase),))
    if page is not None and last is not None:
        yield from _modified(page)
        yield from _certificates(last.tls)


def _phases(way: list[Passage]) -> dict[str, float]:
    """Summed over the hops. As there: no connection counts that was not shaken hands on, nor the transfer of a redirect."""
    spent = dict.fromkeys(_PHASES if way and way[0].address else _PHASES[:1], 0.0)
    for passage in way:
        spent["resolve"] += passage.lookup_s
        http = passage.http
        if passage.tcp is None or http is None:
            continue
        spent["connect"] += passage.tcp.duration
        spent["tls"] += passage.tls.duration if passage.tls else 0.0
        if http.status is None or http.first_byte_s is None:
            continue
        spent["processing"] += http.first_byte_s
        if passage is way[-1]:
            spent["transfer"] += max(0.0, (http.last_byte_s or http.first_byte_s) - http.first_byte_s)
    return {phase: round(seconds, 6) for phase, seconds in spent.items()}


def _version(tls: Tls | None) -> float:
    """Plain HTTP/1.0 is told as 1.1: the facts do not tell them apart."""
    return 2.0 if tls is not None and tls.alpn == "h2" else 1.1


def _content_length(page: Http) -> float:
    """-1 where the response does not say, or says it of a compressed body only."""
    if page.status in _NO_BODY:
        return 0.0
    if page.declared_length is None or _header(page, "content-encoding") not in (None, "", "identity"):
        return -1.0
    return float(page.declared_length)


def _modified(page: Http) -> Iterator[Sample]:
    try:
        when = parsedate_to_datetime(_header(page, "last-modified") or "")
        seconds = when.replace(tzinfo=when.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, OverflowError):
        return
    yield Sample("probe_http_last_modified_timestamp_seconds", seconds)


def _certificates(tls: Tls | None) -> Iterator[Sample]:
    if tls is None:
        return
    ends = [certificate.not_after for certificate in tls.chain if certificate.not_after is not None]
    if ends:
        yield Sample("probe_ssl_earliest_cert_expiry", min(ends).timestamp())
    yield Sample("probe_tls_version_info", 1.0, (("version", _VERSIONS.get(tls.version or "", "unknown")),))


def _header(page: Http, name: str) -> str | None:
    return next((value.strip() for header, value in page.headers if header.lower() == name), None)


def _is_address(text: str | None) -> bool:
    """What is scrubbed out of a measurement is none."""
    try:
        ipaddress.ip_address(text or "")
    except ValueError:
        return False
    return True


def address_hash(address: str) -> int:
    """FNV-1a, 32 bits, over the address's bytes: as blackbox_exporter has it, so that both tell the same address."""
    result = 0x811C9DC5
    for byte in ipaddress.ip_address(address).packed:
        result = (result ^ byte) * 0x01000193 & 0xFFFFFFFF
    return result


def _verdict(probed: Probed, measurement: Measurement) -> Iterator[Sample]:
    yield Sample("almenara_probe_age_seconds", round(probed.age_s, 3))
    info = (("vantage", probed.vantage), ("asn", words.asn(measurement.network)))
    yield Sample("almenara_probe_info", 1.0, info)
    verdict = measurement.verdict
    if verdict is None:
        return
    for status in Status:
        yield Sample("almenara_probe_status", float(status is verdict.status), (("status", status.value),))
    if verdict.confidence is not None:
        yield Sample("almenara_probe_confidence", verdict.confidence)
    for method in dict.fromkeys(map(words.method, verdict.methods)):
        yield Sample("almenara_probe_method", 1.0, (("method", method),))
    why = reason(outcome(measurement), verdict)
    if why is not None:
        yield Sample("almenara_probe_failure", 1.0, (("step", why[0]), ("failure", words.failure(why[1]))))


def ended_ago(measurement: Measurement, now: datetime) -> float:
    """Seconds since a measurement ended."""
    return max(0.0, (now - measurement.started).total_seconds() - measurement.runtime)
