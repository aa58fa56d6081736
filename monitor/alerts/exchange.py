"""Incidents in the columns that the #KeepItOn coalition exchanges shutdowns in, a row or two an incident.

Columns: country,country_code,affected_regions,start_date,end_date,cause,affected_services,link,source (Access Now's).
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from monitor.alerts import phrases
from monitor.language import Words
from monitor.models import Event

COLUMNS = (
    "country", "country_code", "affected_regions", "start_date", "end_date", "cause", "affected_services", "link", "source",
)  # fmt: skip
SOURCE = "Almenara"


def rows(words: Words, events: Sequence[Event], link: str | None) -> Iterator[Mapping[str, str]]:
    """What belongs together: a row of what goes on, and one of what is over, since a row has one end."""
    for is_over in (False, True):
        some = [event for event in events if (event.ended is not None) is is_over]
        if some:
            yield row(words, some, link)


def row(words: Words, events: Sequence[Event], link: str | None) -> Mapping[str, str]:
    """As one row. The cause is left to those who know it."""
    told = (event.network.country or "" for event in events if event.network)
    codes = list(dict.fromkeys(code for code in told if re.fullmatch("[A-Z]{2}", code)))
    end = phrases.ended(events) if events else None
    return {
        "country": ", ".join(phrases.name(words.country(code)) for code in codes),
        "country_code": ", ".join(codes),
        "affected_regions": "",
        "start_date": phrases.began(events)[0].date().isoformat() if events else "",
        "end_date": end.date().isoformat() if end else "",
        "cause": "",
        "affected_services": ", ".join(phrases.sites(events)),
        "link": link or "",
        "source": SOURCE,
    }
