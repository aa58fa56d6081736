"""What all dashboards share: variables, marks where events begin and end, links to each other and to Almenara's page."""

from collections.abc import Mapping, Sequence

from boards.panels import SOURCE, AnyPanel
from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
    TextBoxVariable,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

TAG = "almenara"
BOARDS = {"overview": "Overview", "site": "Site", "isp": "ISP", "operations": "Operations"}
EVERYTHING = VariableOption(text="All", value="$__all", selected=True)

# Where things are on Almenara's own page, and on these dashboards; the values are filled in by Grafana.
PAGE = "${page}"
TO_SITE = "/d/almenara-site?${datasource:queryparam}&${page:queryparam}&${__url_time_range}&var-site="
TO_ISP = "/d/almenara-isp?${datasource:queryparam}&${page:queryparam}&${__url_time_range}&var-vantage="


def begun(board: str, says: str, *, evidence: str = "/") -> Dashboard:
    """A dashboard with its name, range of time, links and first variables, without panels. evidence: where on the page."""
    frame = (
        Dashboard(f"Almenara: {BOARDS[board]}")
        .uid(f"almenara-{board}")
        .description(says)
        .tags([TAG])
        .time("now-24h", "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for other, title in BOARDS.items():
        if other != board:
            frame = frame.link(_board_link(other, title))
    return frame.link(_page_link(evidence))


def with_page(frame: Dashboard) -> Dashboard:
    """The last variable: where Almenara's page is."""
    default = "http://127.0.0.1:9105"
    option = VariableOption(text=default, value=default, selected=True)
    says = "Where a browser finds Almenara's own page, for links to the evidence."
    box = TextBoxVariable("page").label("Almenara's page").description(says).default_value(default)
    return frame.with_variable(box.current(option).options([option]))


def filled(frame: Dashboard, rows: Mapping[str, Sequence[AnyPanel]]) -> Dashboard:
    """With rows of panels, by their titles."""
    for title, panels in rows.items():
        frame = frame.with_row(Row(title))
        for panel in panels:
            frame = frame.with_panel(panel)
    return frame


def choice(
    name: str, label: str, values: str, *, several: bool = True, hidden: bool = False, everything: str | None = ".*"
) -> QueryVariable:
    """A variable whose values are asked of Prometheus, again when the range of time changes.

    values: `label_values(...)`. everything: what "All" matches; None: just these values.
    """
    variable = (
        QueryVariable(name)
        .label(label)
        .query(values)
        .definition(values)
        .datasource(SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
    if several:
        variable = variable.multi(True).include_all(True).current(EVERYTHING)
        variable = variable if everything is None else variable.all_value(everything)
    return variable.hide(VariableHide.HIDE_VARIABLE) if hidden else variable


def marked(frame: Dashboard, selector: str) -> Dashboard:
    """Marks where the events of blocking begin and end. selector: which events."""
    active = f'almenara_active_event{{kind="blocking", {selector}}}'
    # An incident may get another id while its event goes on, and Almenara may be away for a while: neither is an end.
    same, seen = "on (job, instance, event)", "and on (job, instance) almenara_build_info"
    before = "offset $__interval"
    began = f"({active} unless {same} {active} {before}) {seen} {before}"
    ended = f"({active} {before} unless {same} {active}) {seen}"
    return frame.annotation(_mark("Blocking begins", began, "red")).annotation(_mark("Blocking ends", ended, "green"))


def _mark(name: str, expression: str, colour: str) -> AnnotationQuery:
    target = Dataquery().expr(expression).ref_id("Anno").datasource(SOURCE).range().interval("1m")
    return (
        AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .hide(False)
        .icon_color(colour)
        .target(target)
        .expr(expression)
        .title_format(f"{name}: {{{{site}}}}")
        .text_format("{{site}} on {{isp}} (AS{{asn}}), event {{event}}")
        .tag_keys("site,isp")
        .step("1m")
    )


def _board_link(board: str, title: str) -> DashboardLink:
    return (
        DashboardLink(title)
        .type(DashboardLinkType.LINK)
        .icon("dashboard")
        .tooltip(f"Almenara: {title}")
        .url(f"/d/almenara-{board}")
        .include_vars(True)
        .keep_time(True)
        .as_dropdown(False)
        .target_blank(False)
        .tags([])
    )


def _page_link(path: str) -> DashboardLink:
    return (
        DashboardLink("Evidence")
        .type(DashboardLinkType.LINK)
        .icon("external link")
        .tooltip("Almenara's own page: the events, and the measurements behind them")
        .url(f"{PAGE}{path}")
        .target_blank(True)
        .as_dropdown(False)
        .tags([])
    )
