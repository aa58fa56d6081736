"""A measurement prints as promised, and reads back as it was."""

import msgspec
import pytest
from verdict_cases import HTTP, SITE, SITE6, measured

from monitor.models import Measurement, Observation, Tcp, to_json


def told() -> Measurement:
    case = measured(HTTP).dns(isp=SITE, doh=SITE).neighbour().redirects("https://elpitazo.example/").opens()
    return case.control().dns(helper=SITE).cut("tls.certificate").measurement()


def test_a_measurement_survives_printing() -> None:
    assert msgspec.json.decode(to_json(told()), type=Measurement) == told()


def test_a_judged_measurement_survives_printing() -> None:
    case = measured().dns(isp="NXDOMAIN", doh=SITE).opens()
    judged = msgspec.structs.replace(case.measurement(), verdict=case.verdict)
    assert msgspec.json.decode(to_json(judged), type=Measurement) == judged


def test_it_prints_on_one_line_with_the_names_that_people_script_against() -> None:
    printed = to_json(told())
    assert b"\n" not in printed
    promised = {
        "id", "url", "site", "vantage", "probe", "network", "started", "runtime", "verdict", "conditions", "dns", "tcp",
        "tls", "http", "controls",
    }  # fmt: skip
    assert promised <= msgspec.json.decode(printed).keys()
    assert msgspec.json.decode(printed)["network"].keys() == {"asn", "isp", "country", "source"}


def test_times_are_printed_in_utc() -> None:
    assert msgspec.json.decode(to_json(told()))["started"] == "2018-01-15T13:05:00Z"


def test_a_field_of_a_later_version_is_ignored() -> None:
    later = msgspec.json.decode(to_json(told())) | {"quic": [{"hop": 0}]}
    assert msgspec.convert(later, Measurement) == told()


@pytest.mark.parametrize("name", ["id", "url", "started", "conditions", "network"])
def test_missing_data_is_an_error_and_not_a_default(name: str) -> None:
    fewer = {key: value for key, value in msgspec.json.decode(to_json(told())).items() if key != name}
    with pytest.raises(msgspec.ValidationError, match=name):
        msgspec.convert(fewer, Measurement)


@pytest.mark.parametrize(("address", "family"), [(SITE, 4), (SITE6, 6), ("::ffff:190.202.10.10", 6)])
def test_an_address_tells_its_family(address: str, family: int) -> None:
    connected = Tcp(hop=0, attempt=1, started=0, duration=0, failure=None, address=address, port=443, sources=())
    assert connected.family == family


def test_facts_cannot_be_changed() -> None:
    fact: Observation = told().tcp[0]
    with pytest.raises(AttributeError):
        fact.failure = "connection_reset"  # type: ignore[misc]
