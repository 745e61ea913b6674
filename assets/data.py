"""Group `data`: bars as the source delivered them, and bars fit for research."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.settings import Settings, load_settings
from assets.plots import picture
from assets.reuse import reusable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OWNERS = ["team:research"]


def yearly_partitions(settings: Settings) -> dg.TimeWindowPartitionsDefinition:
    """Ingest is cut by calendar year: a year is one quick request for any source and history is back-filled in a single run."""
    first, last = bootstrap.ingest_span(settings)
    end = str(last.year + 1) if last else None
    return dg.TimeWindowPartitionsDefinition(
        start=str(first.year), end=end, fmt="%Y", cron_schedule="0 0 1 1 *", end_offset=0 if end else 1
    )


PERIODS = yearly_partitions(load_settings())


def latest_period() -> str:
    """The newest ingest partition: the only one a retrain has to refresh."""
    key = PERIODS.get_last_partition_key()
    if key is None:
        raise ValueError("no ingest period has begun yet: check market.history_start")
    return key


@dg.asset(
    group_name="data",
    owners=OWNERS,
    kinds={"parquet", "pandas"},
    code_version="1",
    partitions_def=PERIODS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="bar_store",
)
def raw_bars(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[None]:
    """Raw OHLCV as traded, with split and dividend columns, as the configured source delivers it. Appended, never rewritten silently."""
    window = context.partition_time_window
    source, store = bootstrap.bar_source(settings), bootstrap.raw_store(settings)
    added = bootstrap.ingest(settings, source, store, window.start.date(), window.end.date())
    facts = store.describe()
    context.log.info("%s new bars from source %s", added, source.name)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(str(facts["data_hash"])),
        metadata={**_plain(facts), "new_rows": added, "source_facts": dg.MetadataValue.json(_plain(source.describe()))},
    )


@dg.asset_check(asset=raw_bars, blocking=True, description="Great Expectations: columns, numbers, OHLC geometry, unique bars")
def raw_bars_are_sound(settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
    from assets.quality import raw_bars_suite, validate

    return validate(bootstrap.raw_store(settings).read().reset_index(), raw_bars_suite(), "raw_bars")


def _published(settings: Settings) -> bool:
    return bootstrap.bar_store(settings).exists


@dg.asset(group_name="data", owners=OWNERS, kinds={"parquet", "pandas"}, code_version="1", deps=[raw_bars], pool="bar_store")
@reusable(
    rooms=("market",), sections=("market", "model", "research"), also=lambda s: bootstrap.raw_store(s).data_hash(), still_there=_published
)
def bars(settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[None]:
    """Checked bars of the universe: sorted, on exchange sessions, enough history. Prices stay raw; readers adjust as of a date."""
    from alphatrade_pipelines.market import quality_report

    store = bootstrap.bar_store(settings)
    checked = bootstrap.publish_bars(settings)
    report = quality_report(checked, bootstrap.timeframe(settings))
    return dg.MaterializeResult(
        data_version=dg.DataVersion(store.data_hash()),
        metadata={
            **_plain(store.describe()),
            "training_cut": str(bootstrap.training_cut(settings, checked)),
            "quality": dg.MetadataValue.md(bootstrap.as_markdown(report.reset_index())),
            "closes": picture("Close, split- and dividend-adjusted (log scale); training ends at the line", _closes(settings, checked)),
        },
    )


@dg.asset_check(
    asset=bars,
    blocking=True,
    description="Great Expectations: raw suite, whole universe, no absurd move, real volume",
)
def bars_are_sound(settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
    from assets.quality import bars_suite, validate, with_moves

    return validate(
        with_moves(bootstrap.bar_store(settings).read()), bars_suite(settings.market.symbols, settings.market.largest_move), "bars"
    )


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts as Dagster metadata: simple values stay, anything else becomes text."""
    return {key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in facts.items()}


def _closes(settings: Settings, frame: pd.DataFrame) -> "Callable[[Axes], None]":
    from matplotlib import dates as mdates

    from alphatrade_pipelines.market import adjust

    adjusted = adjust(frame, as_of=frame.index.get_level_values("timestamp").max())
    cut = mdates.date2num(bootstrap.training_cut(settings, frame))

    def draw(axes: "Axes") -> None:
        for symbol, rows in adjusted.groupby(level="symbol", observed=True):
            axes.plot(rows.index.get_level_values("timestamp"), rows["close"], linewidth=0.9, label=str(symbol))
        axes.set_yscale("log")
        axes.axvline(cut, color="black", linewidth=0.8, linestyle="--")
        axes.legend(ncols=len(settings.market.symbols), fontsize=8, frameon=False)

    return draw
