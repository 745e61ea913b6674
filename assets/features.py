"""Group `features`: the frozen feature state and the point-in-time features of every bar."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.settings import Settings
from assets.data import OWNERS, bars
from assets.feature_plots import correlation_map, regimes_over_price, training_against_recent
from assets.plots import picture
from assets.reuse import KeptFacts, KeptFrame, reusable

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dg.asset(group_name="features", owners=OWNERS, kinds={"json", "python"}, code_version="1", deps=[bars])
@reusable(inputs=("bars",), rooms=("market", "features"), sections=("market", "research"), kept=KeptFacts)
def feature_state(settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[dict[str, str]]:
    """Every statistic a feature needs, fitted on training bars only and frozen: fracdiff orders, percentiles, regime model."""
    all_bars = bootstrap.bar_store(settings).read()
    cut = bootstrap.training_cut(settings, all_bars)
    fitted = bootstrap.feature_pipeline(settings).fit(bootstrap.training_bars(settings, all_bars))
    return dg.MaterializeResult(
        value={"state": fitted.to_json(), "fitted_until": str(cut), "data_hash": bootstrap.bar_store(settings).data_hash()},
        data_version=dg.DataVersion(fitted.content_hash),
        metadata={
            "features": len(fitted.feature_names),
            "warmup_bars": fitted.warmup_bars,
            "fitted_until": str(cut),
            "content_hash": fitted.content_hash,
            "catalogue": dg.MetadataValue.md(bootstrap.as_markdown(pd.DataFrame(fitted.describe()["features"]).astype(str))),
        },
    )


@dg.asset(group_name="features", owners=OWNERS, kinds={"parquet", "numba"}, code_version="1", deps=[bars])
@reusable(inputs=("bars", "feature_state"), rooms=("market", "features"), sections=("market", "research"), kept=KeptFrame)
def features(settings: dg.ResourceParam[Settings], feature_state: dict[str, str]) -> dg.MaterializeResult[pd.DataFrame]:
    """Point-in-time features of every bar, training and later alike, from the frozen state; NaN while a window is still filling."""
    from alphatrade_pipelines.features import FittedPipeline

    frame = FittedPipeline.from_json(feature_state["state"]).transform(bootstrap.bar_store(settings).read())
    complete = frame.notna().all(axis=1)
    return dg.MaterializeResult(
        value=frame,
        metadata={
            "rows": len(frame),
            "complete_rows": int(complete.sum()),
            "columns": len(frame.columns),
            "summary": dg.MetadataValue.md(bootstrap.as_markdown(frame.describe().T.reset_index(names="feature").round(4))),
            "missing": picture("Share of rows without a value, by feature", _missing(frame), height=7.0),
            "regimes": regimes_over_price(frame),
            "distributions": training_against_recent(frame, pd.Timestamp(feature_state["fitted_until"])),
            "correlation": correlation_map(frame),
        },
    )


@dg.asset_check(
    asset=features,
    blocking=True,
    additional_ins={"feature_state": dg.AssetIn("feature_state")},
    description="Cutting the bars at t, or poisoning all after t, must not change a bit up to t",
)
def no_look_ahead(settings: dg.ResourceParam[Settings], feature_state: dict[str, str]) -> dg.AssetCheckResult:
    from alphatrade_pipelines.features import FittedPipeline
    from alphatrade_pipelines.leaks.house import audit_nightly

    fitted = FittedPipeline.from_json(feature_state["state"])
    report = audit_nightly(fitted, bootstrap.bar_store(settings).read())
    return dg.AssetCheckResult(
        passed=report.clean,
        severity=dg.AssetCheckSeverity.ERROR,
        description="no feature sees the future" if report.clean else f"sees the future: {', '.join(report.offending) or 'not known'}",
        metadata={
            "values_checked": report.values_checked,
            "features": len(fitted.feature_names),
            "leaks": [str(alarm) for alarm in report.alarms],
            "refused": list(report.refused),
        },
    )


def _missing(frame: pd.DataFrame) -> "Callable[[Axes], None]":
    share = frame.isna().mean().sort_values()

    def draw(axes: "Axes") -> None:
        axes.barh(share.index, share.to_numpy() * 100, height=0.7)
        axes.set_xlabel("% of rows")
        axes.tick_params(labelsize=6)

    return draw
