"""The API against its own schema: what the schema allows is answered as it says, and what it does not is refused."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from store_cases import event, real
from test_api import EVENTS, INCIDENTS
from test_store import history
from web_cases import served

from monitor.sites import site_name
from monitor.store import TIMES, Store
from monitor.urls import BadUrl
from monitor.web.api.endpoints import ENDPOINTS
from monitor.web.api.schema import schema

EXAMPLES = 60  # for each endpoint, of either kind
document = schemathesis.openapi.from_dict(schema())


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    url = f"sqlite:{tmp_path_factory.mktemp('store') / 'schema.db'}"
    with Store.open(url) as store:
        store.append([*history(), real()])
        store.save_events([*EVENTS, event()], INCIDENTS)
    with served(url) as client:
        yield client


def test_the_documentation_tells_of_every_endpoint_and_parameter() -> None:
    document = (Path(__file__).parent.parent / "docs" / "api.md").read_text()
    told = set(re.findall(r"[\w/{}.-]+", " ".join(re.findall(r"`([^`\n]+)`", document))))
    for endpoint in ENDPOINTS:
        assert endpoint.path.replace("{id}", "ID") in told
        asked = endpoint.asked(published=False)
        assert {field.name for field in msgspec.structs.fields(asked)} <= told, endpoint.path


def beyond_the_schema(query: dict[str, Any]) -> bool:
    """What no schema can say: what a host is, which years have zones; a cursor comes from an answer, `until` is after
    `since`, one of two divisions may be a time.
    """
    by = query.get("by", ())
    times = len({*(by.split(",") if isinstance(by, str) else by)} & {*TIMES}) > 1
    far = any(str(query.get(name, ""))[:4] in ("0000", "0001", "9999") for name in ("since", "until"))
    return (
        "cursor" in query
        or far
        or times
        or ("since" in query and "until" in query)
        or not is_host(str(query.get("site", "a")))
    )


def is_host(site: str) -> bool:
    try:
        return bool(site_name(f"https://{site}/"))
    except BadUrl:
        return False


@document.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_schema_says(case: schemathesis.Case, api: httpx.Client) -> None:
    spared = [positive_data_acceptance] if beyond_the_schema(dict(case.query)) else []
    case.call_and_validate(base_url=str(api.base_url), excluded_checks=spared)


def test_the_schema_tells_of_every_endpoint_and_parameter(api: httpx.Client) -> None:
    told = api.get("/api/schema").json()
    assert told["openapi"].startswith("3.1")
    assert told["paths"].keys() == {one.path for one in ENDPOINTS}
    for endpoint in ENDPOINTS:
        [operation] = told["paths"][endpoint.path].values()
        named = {one["name"] for one in operation["parameters"] if one["in"] == "query"}
        assert named == {field.name for field in msgspec.structs.fields(endpoint.asked(published=False))}
        assert all(one["description"] for one in operation["parameters"])
