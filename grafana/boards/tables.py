"""Tables that more than one dashboard shows."""

from boards.frame import PAGE, TO_SITE
from boards.panels import columns, in_unit, in_words, linked, merged, ordered, rows, table, words
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.models import units

KINDS = words(
    {
        "blocking": ("✖ blocking", "dark-red"),
        "site_outage": ("▽ site down for everyone", "orange"),
        "network_outage": ("▽ network down", "orange"),
        "silence": ("? silence", "light-blue"),
    }
)


def active_events(title: str, selector: str, *, width: int, height: int = 8) -> Table:
    """The events that go on. selector: which."""
    says = (
        "What the detector is sure of and what has not ended, the newest 500: blocking and, apart from it, outages and "
        "silence. Click an event for its evidence on Almenara's page."
    )
    active = f"almenara_active_event{{{selector}}}"
    labels = "kind, site, isp, asn, incident, event"
    began = "almenara_active_event_started_timestamp_seconds"
    since = f"max by (event) ({began} and on (job, instance, event) {active}) * 1000"
    shown = columns(
        Value_B="Since", kind="Kind", site="Site", isp="ISP", asn="AS", incident="Incident", event="Event"
    )  # fmt: skip
    return (
        table(title, says, rows(f"max by ({labels}) ({active})"), rows(since, ref="B"), width=width, height=height)
        .transformations([merged(), *shown, ordered("Since", falling=True)])
        .override_by_name("Since", in_unit(units.DatetimeDefault))
        .override_by_name("Kind", in_words(KINDS))
        .override_by_name(
            "Site",
            linked(("This site", TO_SITE + "${__value.text}"), ("Its evidence", PAGE + "/sites/${__value.text}")),
        )
        .override_by_name("AS", linked(("Its evidence", PAGE + "/networks/asn${__value.text}")))
        .override_by_name("Event", linked(("The evidence", PAGE + "/events/${__value.text}")))
        .override_by_name("Incident", linked(("The incident", PAGE + "/incidents/${__value.text}")))
        .no_value("nothing is going on")
    )
