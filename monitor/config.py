"""probes.yaml -> Config, or one clear error with file, line and key.

Each field's type says how its text is read (`config_values`), what it may be, and its default. Adding a key is adding
a field here and a line to the README; sections that a version only validates are in UNUSED.
"""

import difflib
import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from monitor import system_errors
from monitor.config_alerts import AlertConfig
from monitor.config_mismatch import unfit
from monitor.config_section import Section
from monitor.config_values import (
    Address,
    Age,
    Asn,
    Category,
    Contact,
    Count,
    Country,
    Database,
    Device,
    Duration,
    Host,
    HttpsUrl,
    Interval,
    Listen,
    Name,
    NetworkNamespace,
    Origin,
    OwnResolver,
    Pause,
    Proxy,
    ResolverAddress,
    Selected,
    Size,
    Store,
    Token,
    WebUrl,
    site_entry,
)
from monitor.config_yaml import MAX_BYTES, ConfigError, Document
from monitor.messages import Said
from monitor.models import Network

__all__ = ["Config", "ConfigError", "find", "load", "parse", "placed"]

FILE_NAME = "probes.yaml"
# Validated, so that one file serves every version, but without effect so far: `almenara check` says so.
UNUSED = ("hub",)


class SiteConfig(Section, frozen=True, kw_only=True):
    """A site to watch. name: for people; tags: to select by; every: how often, before what its tags say."""

    url: WebUrl
    name: Name | None = None
    tags: tuple[Name, ...] = ()
    every_s: Interval | None = msgspec.field(name="every", default=None)


class ListConfig(Section, frozen=True, kw_only=True):
    """A Citizen Lab test list, of which the sites in `categories` are watched."""

    path: str | None = None
    url: HttpsUrl | None = None  # over http anybody on the way could choose what is measured
    categories: tuple[Category, ...] = ("NEWS",)

    def __post_init__(self) -> None:
        _exactly_one(self, "path", "url")


class Via(Section, frozen=True, kw_only=True):
    """How a vantage's packets leave this machine."""

    interface: Device | None = None
    source: Address | None = None
    proxy: Proxy | None = None
    netns: NetworkNamespace | None = None

    def __post_init__(self) -> None:
        _exactly_one(self, "interface", "source", "proxy", "netns")


class VantageConfig(Section, frozen=True, kw_only=True):
    """A network path to measure from. isp, asn, country: as declared; resolvers: the network's own."""

    name: Name
    isp: Name | None = None
    asn: Asn | None = None
    country: Country | None = None
    via: Via | None = None
    resolvers: tuple[OwnResolver, ...] = ("system",)

    @property
    def network(self) -> Network:
        """As declared."""
        return Network(asn=self.asn, isp=self.isp, country=self.country)


class ControlConfig(Section, frozen=True, kw_only=True):
    """Who tells blocked from down. agree: helpers that must say the same; vantage: one used as the control."""

    helpers: tuple[WebUrl, ...] = ()
    resolvers: tuple[HttpsUrl, ...] = (
        "https://dns.quad9.net/dns-query",
        "https://cloudflare-dns.com/dns-query",
        "https://dns.google/dns-query",
    )
    vantage: Name | None = None
    agree: Count = 1


class MeasureConfig(Section, frozen=True, kw_only=True):
    """timeout: of one step; budget: of one site with all its attempts; concurrency: sites at once.

    attempts: 3, because a fifth of first failures are transient and almost none survive three (CensMon).
    neutral: sites nobody blocks, which tell this network's troubles from a site's. The two plain-http ones answer a
    known page, so that a captive portal shows.
    """

    timeout_s: Duration = msgspec.field(name="timeout", default=10.0)
    budget_s: Duration = msgspec.field(name="budget", default=120.0)
    concurrency: Annotated[int, Meta(ge=1, le=1024)] = 16
    attempts: Annotated[int, Meta(ge=1, le=10)] = 3
    public_resolvers: tuple[ResolverAddress, ...] = ("8.8.8.8", "1.1.1.1", "9.9.9.9")
    neutral: tuple[WebUrl, ...] = (
        "https://www.wikipedia.org/",
        "https://www.debian.org/",
        "https://www.mozilla.org/",
        "http://detectportal.firefox.com/success.txt",
        "http://connectivitycheck.gstatic.com/generate_204",
    )


class ScheduleConfig(Section, frozen=True, kw_only=True):
    """How often each site is measured; jitter: at most so much earlier or later.

    tags: how often the sites of a tag are measured (the shortest of a site's tags counts). budget: bytes a day that
    measuring may send and receive.
    """

    every_s: Interval = msgspec.field(name="every", default=1800.0)
    jitter_s: Pause = msgspec.field(name="jitter", default=300.0)
    tags: dict[Name, Interval] = msgspec.field(default_factory=dict)
    budget: Size | None = None


class KeepConfig(Section, frozen=True, kw_only=True):
    """How long measurements are kept: age, of a day or more; size: bytes of store. Rollups and events' evidence stay."""

    age_s: Age | None = msgspec.field(name="age", default=None)
    size: Size | None = None


class NetworkConfig(Section, frozen=True, kw_only=True):
    """How vantages' networks are looked up. database: MaxMind format (ASN), a file or its URL; none: by DNS."""

    lookup: bool = True
    database: Database | None = None


class WebConfig(Section, frozen=True, kw_only=True):
    """Where the page, the API and the metrics are served. probe_any: /probe measures sites that are not configured.

    hosts: by which names other machines may ask, beyond addresses and this machine's own; where it is public, by which
    names alone all is told. public: where everyone on the internet may read them, redacted. token: with it changes may be
    asked for from elsewhere.
    operator, contact: who runs it, as the page says.
    """

    listen: Listen = "127.0.0.1:9105"
    hosts: tuple[Host, ...] = ()
    probe_any: bool = False
    public: Origin | None = None
    token: Token | None = None
    operator: Name | None = None
    contact: Contact | None = None


class MetricsConfig(Section, frozen=True, kw_only=True):
    """Which sites /metrics tells of one by one: hosts, or `tag:TAG`; none: all."""

    sites: tuple[Selected, ...] = ()


class DetectConfig(Section, frozen=True, kw_only=True):
    """At least so many before an event is announced."""

    measurements: Count = 3
    probes: Count = 1


class HubConfig(Section, frozen=True, kw_only=True):
    """The hub that collects this probe's measurements. key: a file."""

    url: WebUrl
    key: str


class Config(Section, frozen=True, kw_only=True):
    """All of probes.yaml. consent: None where the file does not say."""

    consent: bool | None = None
    sites: tuple[Annotated[SiteConfig, Meta(extra={"read": site_entry})], ...] = ()
    lists: tuple[ListConfig, ...] = ()
    vantages: Annotated[tuple[VantageConfig, ...], Meta(min_length=1)] = (VantageConfig(name="default"),)
    control: ControlConfig = ControlConfig()
    measure: MeasureConfig = MeasureConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    store: Store | None = None
    keep: KeepConfig = KeepConfig()
    network: NetworkConfig = NetworkConfig()
    web: WebConfig = WebConfig()
    metrics: MetricsConfig = MetricsConfig()
    alerts: tuple[AlertConfig, ...] | None = None
    detect: DetectConfig = DetectConfig()
    hub: HubConfig | None = None


def find() -> Path | None:
    """The configuration where none is named: here, then in the user's configuration folder."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    places = (Path(FILE_NAME), Path(folder) / "almenara" / FILE_NAME)
    return next((place for place in places if place.exists()), None)


def load(path: Path) -> Config:
    """Read a configuration file; ConfigError. Paths in it (lists, the store) are relative to its folder."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        config = parse(raw.decode("utf-8-sig"), str(path))
    except OSError as exc:
        raise ConfigError(str(path), None, None, system_errors.problem(exc)) from None
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise ConfigError(str(path), line, "yaml", Said("expected text in UTF-8")) from None
    lists = tuple(_beside(path, entry) for entry in config.lists)
    return msgspec.structs.replace(
        config, lists=lists, store=_store_beside(path, config.store), network=_network_beside(path, config.network)
    )


def placed(file: Path | None, key: str, problem: Said | Exception | str) -> ConfigError:
    """What turned out to be wrong with a value later on; with its line where it comes from a file."""
    if file is None:
        return ConfigError(FILE_NAME, None, key, problem)
    try:
        return Document(file.read_text("utf-8-sig"), str(file)).error(key, problem)
    except (OSError, UnicodeDecodeError, ConfigError):  # it was changed since
        return ConfigError(str(file), None, key, problem)


def _beside(file: Path, entry: ListConfig) -> ListConfig:
    if entry.path is None:
        return entry
    return msgspec.structs.replace(entry, path=str(file.parent / Path(entry.path).expanduser()))


def _store_beside(file: Path, store: str | None) -> str | None:
    if store is None or not store.startswith("sqlite:"):
        return store
    return f"sqlite:{(file.parent / Path(store.removeprefix('sqlite:')).expanduser()).absolute()}"


def _network_beside(file: Path, network: NetworkConfig) -> NetworkConfig:
    if network.database is None or network.database.startswith("https://"):
        return network
    return msgspec.structs.replace(network, database=str(file.parent / Path(network.database).expanduser()))


# msgspec learns a type when it first meets it, and crashes the process where two threads are the first at once.
msgspec.json.Decoder(Config)


def parse(text: str, name: str) -> Config:
    """The configuration in `text`; ConfigError, in which the file is called `name`."""
    document = Document(text, name)
    values = _read(document, {} if document.values is None else document.values, Config, "")
    try:
        config = msgspec.convert(values, Config)
    except msgspec.ValidationError as exc:
        raise document.error(*unfit(exc)) from None
    for path, expected in _contradictions(config):
        raise document.error(path, expected)
    return config


def _read(document: Document, value: Any, kind: Any, path: str) -> Any:
    """`value` with every text in it read as the field that it belongs to asks for."""
    kind, readers = _unwrapped(kind)
    for reader in readers:
        try:
            value = reader(value)
        except ValueError as exc:
            raise document.error(path, exc) from None
    if get_origin(kind) is tuple and isinstance(value, list):
        return [_read(document, item, get_args(kind)[0], f"{path}[{i}]") for i, item in enumerate(value)]
    if get_origin(kind) is dict and isinstance(value, dict):
        return _read_mapping(document, value, get_args(kind), path)
    if isinstance(kind, type) and issubclass(kind, Section) and isinstance(value, dict):
        return _read_section(document, value, kind, path)
    return value


def _read_mapping(document: Document, values: dict[Any, Any], kinds: tuple[Any, Any], path: str) -> dict[Any, Any]:
    of_key, of_value = kinds
    return {
        _read(document, key, of_key, f"{path}.{key}"): _read(document, value, of_value, f"{path}.{key}")
        for key, value in values.items()
    }


def _read_section(document: Document, values: dict[str, Any], kind: type[Section], path: str) -> dict[str, Any]:
    known = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    found = {}
    for key, value in values.items():
        here = f"{path}.{key}" if path else key
        if key not in known:
            raise document.error(here, _unknown(key, list(known)))
        if value is not None:  # a key whose values are all commented out
            found[key] = _read(document, value, known[key], here)
    return found


def _unknown(key: str, known: list[str]) -> Said:
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return Said("unknown key, expected {key}", key=close[0])
    return Said("unknown key, expected one of {keys}", keys=", ".join(known))


def _unwrapped(kind: Any) -> tuple[Any, list[Callable[[Any], Any]]]:
    """A field's type without `Annotated` and `| None`, and the functions that read its text."""
    readers = []
    while True:
        arguments = get_args(kind)
        if get_origin(kind) is Annotated:
            kind = arguments[0]
            readers += [m.extra["read"] for m in arguments[1:] if isinstance(m, Meta) and m.extra]
        elif get_origin(kind) in (Union, types.UnionType) and len(arguments) == 2:
            kind = next(argument for argument in arguments if argument is not type(None))
        else:
            return kind, readers


def _exactly_one(section: Section, *keys: str) -> None:
    given = [key for key in keys if getattr(section, key) is not None]
    if not given:
        raise ValueError(Said("expected exactly one of {keys}, got none", keys=", ".join(keys)))
    if len(given) > 1:
        raise ValueError(
            Said("expected exactly one of {keys}, got {given}", keys=", ".join(keys), given=", ".join(given))
        )


def _contradictions(config: Config) -> list[tuple[str, Said]]:
    """What is wrong between values that are right by themselves, as (path, what is expected)."""
    names = [vantage.name for vantage in config.vantages]
    repeated = [i for i, name in enumerate(names) if name in names[:i]]
    control, measure, helpers = config.control, config.measure, len(set(config.control.helpers))
    found = [
        (f"vantages[{i}].name", Said("expected a name of its own, {name} is taken", name=names[i])) for i in repeated
    ]
    if control.vantage is not None and control.vantage not in names:
        found.append(("control.vantage", Said("expected one of the vantages: {names}", names=", ".join(names))))
    if control.vantage is not None and set(names) == {control.vantage}:
        found.append(("vantages", Said("expected a vantage besides the control, {name}", name=control.vantage)))
    if control.agree > max(1, helpers):
        found.append(("control.agree", Said("expected at most the number of helpers, {number}", number=helpers)))
    if measure.timeout_s > measure.budget_s:
        found.append(("measure.timeout", Said("expected at most the budget of a site")))
    return found
