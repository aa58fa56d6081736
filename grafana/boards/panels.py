"""The panels that the dashboards are made of: numbers, lines, bands of states and tables, all in one manner.

No colour says anything alone: each state has its word and sign as well. Colours are names of Grafana's palette, which
has a shade of each for the dark and the light theme.
"""

from typing import Any, TypeVar

from grafana_foundation_sdk.builders.common import (
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models.dashboard import DashboardSpecialValueMapOptions as SpecialValue
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
SLOWLY = "30m"  # for counters that grow once a period: rates over less would be noise

Panel = TypeVar("Panel", Stat, TimeSeries, StateTimeline, Table)
AnyPanel = Stat | TimeSeries | StateTimeline | Table

# A status as a number, the graver the higher, so that the gravest shows where several are one cell.
STATUSES = {
    "ok": (1, "✔ ok", "light-green"),
    "inconclusive": (2, "? inconclusive", "light-blue"),
    "down": (3, "▽ down for everyone", "orange"),
    "geoblocked": (4, "◐ geoblocked", "purple"),
    "blocked": (5, "✖ blocked", "dark-red"),
}


def status_codes(by: str, selector: str) -> str:
    """The query for the current status as one of STATUSES' numbers. by: the labels that make a series."""
    each = (
        f'{number} * almenara_site_status{{status="{status}", {selector}}}' for status, (number, *_) in STATUSES.items()
    )
    return f"max by ({by}) (\n  " + "\n  or ".join(each) + "\n)"


def words(mapped: dict[Any, tuple[str, str]], absent: str = "no data") -> list[ValueMapping]:
    """Numbers, or words of ours, shown as words with a colour, and what stands where there is none."""
    results = {
        str(value): ValueMappingResult(text=text, color=color, index=place)
        for place, (value, (text, color)) in enumerate(mapped.items())
    }
    nothing = ValueMappingResult(text=absent, color="text", index=len(mapped))
    return [
        ValueMap(options=results),
        SpecialValueMap(options=SpecialValue(match=SpecialValueMatch.NULL_AND_NAN, result=nothing)),
    ]


STATUS_WORDS = words({number: (text, color) for number, text, color in STATUSES.values()})
UP_WORDS = words({1: ("✔ up", "light-green"), 0: ("✖ down", "dark-red")})
YES_WORDS = words({1: ("✔ yes", "light-green"), 0: ("✖ no", "dark-red")})


def query(expression: str, legend: str = "", *, ref: str = "A") -> Dataquery:
    """A query over the range of time shown."""
    return Dataquery().expr(expression).legend_format(legend or "__auto").ref_id(ref).datasource(SOURCE).range()


def now(expression: str, legend: str = "", *, ref: str = "A") -> Dataquery:
    """A query of the last moment of that range."""
    return Dataquery().expr(expression).legend_format(legend or "__auto").ref_id(ref).datasource(SOURCE).instant()


def rows(expression: str, *, ref: str = "A") -> Dataquery:
    """A query of the last moment, each label a column."""
    return now(expression, ref=ref).format(PromQueryFormat.TABLE)


def steps(*colours: tuple[float | None, str]) -> ThresholdsConfig:
    """From which value on which colour; None: from below all."""
    return (
        ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=color) for value, color in colours])
    )


def headed(panel: Panel, title: str, says: str, *queries: Dataquery, unit: str, width: int, height: int) -> Panel:
    """What every panel has."""
    return (
        panel.title(title)
        .description(says)
        .datasource(SOURCE)
        .targets(list(queries))
        .unit(unit)
        .span(width)
        .height(height)
    )


NONE_IS_GOOD = steps((None, "light-green"), (1, "dark-red"))


def number(title: str, says: str, *queries: Dataquery, unit: str, width: int, height: int = 4) -> Stat:
    """A figure, or a few beside each other."""
    return (
        headed(Stat(), title, says, *queries, unit=unit, width=width, height=height)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .thresholds(steps((None, "text")))
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
    )


def legend(*, shown: bool) -> VizLegendOptions:
    """A list below the chart."""
    listed = VizLegendOptions().display_mode(common.LegendDisplayMode.LIST).placement(common.LegendPlacement.BOTTOM)
    return listed.show_legend(shown).calcs([])


def lines(title: str, says: str, *queries: Dataquery, unit: str, width: int, height: int = 8) -> TimeSeries:
    """Lines over time, with gaps where there is no data."""
    return (
        headed(TimeSeries(), title, says, *queries, unit=unit, width=width, height=height)
        .min(0)
        .line_width(2)
        .color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .legend(legend(shown=True))
        .tooltip(VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    )


def stacked(panel: TimeSeries) -> TimeSeries:
    """Lines that add up."""
    return panel.fill_opacity(30).stacking(StackingConfig().mode(common.StackingMode.NORMAL).group("A"))


def bands(
    title: str, says: str, *queries: Dataquery, shown: list[ValueMapping], width: int, height: int = 8
) -> StateTimeline:
    """A band per series that shows its states, in words and colours, over time."""
    return (
        headed(StateTimeline(), title, says, *queries, unit=units.NoUnit, width=width, height=height)
        .mappings(shown)
        .merge_values(True)
        .show_value(common.VisibilityMode.AUTO)
        .row_height(0.85)
        .fill_opacity(75)
        .line_width(1)
        .per_page(20)
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .thresholds(steps((None, "text")))
        .legend(legend(shown=False))
        .tooltip(VizTooltipOptions().mode(common.TooltipDisplayMode.SINGLE).sort(common.SortOrder.NONE))
    )


def table(title: str, says: str, *queries: Dataquery, width: int, height: int = 8, unit: str = units.NoUnit) -> Table:
    """Rows and columns."""
    return (
        headed(Table(), title, says, *queries, unit=unit, width=width, height=height)
        .cell_height(common.TableCellHeight.SM)
        .filterable(True)
        .thresholds(steps((None, "text")))
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
    )


def merged() -> DataTransformerConfig:
    """The answers of several queries side by side, by the labels that they share."""
    return DataTransformerConfig(id_val="merge", options={})


def matrix(row: str, column: str) -> DataTransformerConfig:
    """One answer as a matrix of two of its labels."""
    options = {"rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "null"}
    return DataTransformerConfig(id_val="groupingToMatrix", options=options)


def columns(**named: str) -> list[DataTransformerConfig]:
    """Which columns stay, in which order, and under which names; `Value #A` is written Value_A."""
    shown = {field.replace("Value_", "Value #"): name for field, name in named.items()}
    order = {field: place for place, field in enumerate(shown)}
    return [
        DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": list(shown)}}),
        DataTransformerConfig(
            id_val="organize", options={"excludeByName": {}, "indexByName": order, "renameByName": shown}
        ),
    ]


def ordered(by: str, *, falling: bool = False) -> DataTransformerConfig:
    """Rows in order of a column."""
    return DataTransformerConfig(id_val="sortBy", options={"fields": {}, "sort": [{"field": by, "desc": falling}]})


def in_words(mapped: list[ValueMapping]) -> list[DynamicConfigValue]:
    """For a column of a table: its numbers as words on their colour."""
    cell = common.TableColoredBackgroundCellOptions(mode=common.TableCellBackgroundDisplayMode.BASIC)
    return [
        DynamicConfigValue(id_val="mappings", value=mapped),
        DynamicConfigValue(id_val="custom.cellOptions", value=cell),
    ]


def plain() -> list[DynamicConfigValue]:
    """For a column of a table whose others are coloured."""
    return [DynamicConfigValue(id_val="custom.cellOptions", value=common.TableAutoCellOptions())]


def in_unit(unit: str, decimals: int | None = None) -> list[DynamicConfigValue]:
    """For a column of a table."""
    places = [] if decimals is None else [DynamicConfigValue(id_val="decimals", value=decimals)]
    return [DynamicConfigValue(id_val="unit", value=unit), *places]


def linked(*links: tuple[str, str]) -> list[DynamicConfigValue]:
    """For a column of a table: where its cells lead, as titles and addresses."""
    value: list[dict[str, Any]] = [{"title": title, "url": url, "targetBlank": False} for title, url in links]
    return [DynamicConfigValue(id_val="links", value=value)]
