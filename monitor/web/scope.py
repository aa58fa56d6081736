"""What the service watches at the moment, as its pages tell it: nothing of the volunteer, nothing of the machine."""

from collections.abc import Container, Iterable, Mapping
from typing import Protocol

from msgspec import Struct

from monitor.config import SiteConfig, WebConfig
from monitor.models import Network
from monitor.sites import site_name


class Subject(Struct, frozen=True, kw_only=True):
    """A site that is watched. name: for people; tags: to select by; period_s: between two measurements."""

    url: str
    site: str
    name: str | None = None
    tags: tuple[str, ...] = ()
    period_s: float = 0.0


class Place(Struct, frozen=True, kw_only=True):
    """A vantage. network: as last known, or as declared; present: it is there, and measures."""

    name: str
    network: Network
    present: bool = True


class Scope(Struct, frozen=True, kw_only=True):
    """troubled: the store takes nothing at the moment, so that pages are behind."""

    subjects: tuple[Subject, ...] = ()
    places: tuple[Place, ...] = ()
    troubled: bool = False


def scope_of(
    sites: Iterable[SiteConfig], periods: Mapping[str, float], networks: Mapping[str, Network], absent: Container[str],
    *, troubled: bool,
) -> Scope:  # fmt: skip
    """From what a service has: periods by URL, networks by vantage, the vantages that are not there."""
    return Scope(
        subjects=tuple(
            Subject(url=one.url, site=site_name(one.url), name=one.name, tags=one.tags, period_s=periods.get(one.url, 0.0))
            for one in sites
        ),
        places=tuple(Place(name=name, network=one, present=name not in absent) for name, one in networks.items()),
        troubled=troubled,
    )  # fmt: skip


class Watching(Protocol):
    """The service, as the pages see it."""

    @property
    def web(self) -> WebConfig: ...

    def scope(self) -> Scope:
        """What it watches now."""
