"""The dashboards: as their code makes them, of Grafana's form, readable, and asking for what there is."""

import json
import re
import subprocess
import sys
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from dashboards import BOARDS, FOLDER, OWN, filled, named, panels, queries, variables
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_servers import promtool
from ruamel.yaml import YAML

from monitor.metrics.catalogue import METRICS, PREFIX

# Of https://grafana.com/docs/grafana/latest/panels-visualizations/: hues, each in five shades; they fit either theme.
HUES = {"green", "yellow", "red", "blue", "orange", "purple"}
COLOURS = {shade + hue for hue in HUES for shade in ("", "super-light-", "light-", "semi-dark-", "dark-")} | {"text"}
PROMETHEUS_OWN = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
LABELS_OF_SCRAPING = {"job", "instance"}
CHOSEN = {"site": ["a.example"], "vantage": ["cantv"], "asn": ["8048"], "instance": ["127.0.0.1:9105"]}
TIMES = {"__interval": "1m", "__rate_interval": "4m", "__range": "1d"}


def test_what_is_committed_is_what_the_code_makes(tmp_path):
    done = subprocess.run(
        [sys.executable, FOLDER / "build.py", "--into", tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_text() for path in (FOLDER / "dashboards").iterdir()}
    assert made == committed, "run: python grafana/build.py"


@pytest.mark.parametrize("board", BOARDS)
def test_it_has_the_form_that_grafana_publishes(board):
    """The library's models are made from Grafana's schemas: everything has a place in them, and a value that fits it."""
    register_default_plugins()
    read = Dashboard.from_json(BOARDS[board])
    assert list(misfits(read, board)) == []
    assert list(lost(BOARDS[board], plain(read), board)) == []


def plain(model: Any) -> Any:
    """A model as JSON has it."""
    return json.loads(json.dumps(model, cls=JSONEncoder))


def misfits(value: Any, place: str) -> typing.Iterator[str]:
    """Where the values of a model's attributes are not of the types that it declares."""
    if isinstance(value, list | dict):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from misfits(inner, f"{place}.{key}")
    elif type(value).__module__.startswith("grafana_foundation_sdk.models"):
        module = sys.modules[type(value).__module__]
        for name, hint in typing.get_type_hints(type(value), vars(module)).items():
            inner = getattr(value, name)
            if not fits(inner, hint):
                yield f"{place}.{name}: {inner!r} is no {hint}"
            yield from misfits(inner, f"{place}.{name}")


def fits(value: Any, hint: Any) -> bool:
    """Is it of that type? Numbers as JSON has them; an enumeration by its values."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in (object, Any) or isinstance(hint, typing.ForwardRef):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is typing.Literal:
        return value in inner
    if origin is list:
        return isinstance(value, list) and all(fits(one, inner[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(one, inner[1]) for one in value.values())
    if isinstance(value, dict) and hasattr(hint, "from_json"):  # some the library leaves as they are
        read = hint.from_json(value)
        return not [*misfits(read, ""), *lost(value, plain(read), "")]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return value in [one.value for one in hint]
    return isinstance(value, (int, float) if hint is float else hint) and (hint is bool or not isinstance(value, bool))


def lost(before: Any, after: Any, place: str) -> typing.Iterator[str]:
    """What a model that read it does not know."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after[key], f"{place}.{key}") if key in after else [f"{place}.{key}"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{place}.{number}")
    elif before != after:
        yield place


@pytest.mark.parametrize("board", BOARDS)
def test_panels_have_numbers_and_places_of_their_own(board):
    everything = BOARDS[board]["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not taken & cells, panel["title"]
        taken |= cells


@pytest.mark.parametrize("board", BOARDS)
def test_every_panel_says_what_it_shows_and_in_which_unit(board):
    titles = [panel["title"] for panel in panels(board)]
    assert len(set(titles)) == len(titles)
    for panel in panels(board):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
    assert BOARDS[board]["description"]
    assert BOARDS[board]["uid"] == f"almenara-{board}"


@pytest.mark.parametrize("board", BOARDS)
def test_colours_are_of_the_palette_and_never_alone(board):
    def each(value: Any) -> typing.Iterator[dict[str, Any]]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        if isinstance(value, dict):
            yield value
        for one in inner:
            yield from each(one)

    for one in each(BOARDS[board]):
        colours = [one[key] for key in ("color", "iconColor", "fixedColor") if isinstance(one.get(key), str)]
        assert set(colours) <= COLOURS, one
        if "index" in one and "color" in one:
            assert one["text"], "a state that only a colour tells"
    assert not re.search(r'"(#[0-9a-fA-F]{3,8}|rgba?\(.*)"', json.dumps(BOARDS[board]))


def test_states_differ_by_sign_and_word():
    for board in BOARDS:
        for panel in panels(board):
            for mapping in panel["fieldConfig"]["defaults"].get("mappings", []):
                texts = [one["text"] for one in mapping["options"].values() if isinstance(one, dict)]
                assert len(set(texts)) == len(texts), panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_links_lead_to_dashboards_and_variables_that_there_are(board):
    text = json.dumps(BOARDS[board], ensure_ascii=False)
    links = [link["url"] for link in BOARDS[board]["links"]] + re.findall(r'"url": "([^"]*)"', text)
    ours = [url for url in links if url.startswith("/d/")]
    for url in ours:
        found = re.match(r"/d/almenara-(\w+)(?:\?|$)", url)
        assert found, url
        assert set(re.findall(r"var-(\w+)=", url)) <= variables(found[1]).keys(), url
    others = {name for name in BOARDS if name != board}
    assert {url.removeprefix("/d/almenara-") for url in ours} >= others
    assert any(url.startswith("${page}") for url in links)
    known = variables(board).keys() | {"__data", "__field", "__value", "__url_time_range"}
    for url in links:
        assert {name for name in re.findall(r"\$\{(\w+)", url)} <= known, url


def test_queries_use_variables_that_there_are():
    for query in queries():
        assert named(query.expression) <= variables(query.board).keys() | OWN, query.id


def test_queries_ask_for_metrics_and_labels_that_there_are():
    for query in queries():
        asked = re.findall(r"\b([a-z_]+)(?:\{([^}]*)\})?", query.expression)
        metrics = [(name, labels) for name, labels in asked if name.startswith(PREFIX) or name in PROMETHEUS_OWN]
        assert metrics, query.id
        for name, labels in metrics:
            used = set(re.findall(r"(\w+)(?:=|!)", labels))
            if name in PROMETHEUS_OWN:
                assert used <= LABELS_OF_SCRAPING, query.id
                continue
            metric = METRICS[re.sub("_bucket$", "", name.removeprefix(PREFIX))]
            assert used <= {*metric.labels, *LABELS_OF_SCRAPING}, (query.id, name)


def test_every_metric_is_on_a_dashboard():
    """Whatever is told is worth a look."""
    shown = "".join(query.expression for query in queries())
    unused = {name for name in METRICS if PREFIX + name not in shown}
    assert unused <= {"reloads_total"}


def test_every_query_is_one_for_prometheus(tmp_path):
    """Each as a rule of its own, which promtool reads."""
    rules = [
        {"record": "a:query", "labels": {"of": query.id}, "expr": filled(query, CHOSEN, TIMES)} for query in queries()
    ]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    done = promtool("check", "rules", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{len(rules)} rules found" in done.stdout


def test_grafana_is_provisioned_with_them():
    yaml = YAML(typ="safe")
    [source] = yaml.load(FOLDER / "provisioning" / "datasources" / "almenara.yml")["datasources"]
    assert (source["type"], source["access"], source["url"]) == ("prometheus", "proxy", "http://127.0.0.1:9090")
    [provider] = yaml.load(FOLDER / "provisioning" / "dashboards" / "almenara.yml")["providers"]
    assert (provider["type"], provider["options"]["path"]) == ("file", "/var/lib/grafana/dashboards/almenara")
    assert provider["options"]["path"] in (FOLDER / "README.md").read_text()


def test_the_readme_tells_of_each(tmp_path: Path):
    text = (FOLDER / "README.md").read_text()
    for board in BOARDS:
        assert f"`almenara-{board}`" in text
