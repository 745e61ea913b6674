"""Group `research`: the backtest, on the fills, core and sizer that live trading uses."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from alphatrade_pipelines.research import backtesting
from alphatrade_pipelines.settings import Settings
from assets.data import OWNERS, bars
from assets.models import OUT_OF_FOLD
from assets.plots import picture
from assets.reuse import KeptFacts, reusable

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dg.asset(group_name="research", owners=OWNERS, kinds={"python", "plotly"}, code_version="1", deps=[bars])
@reusable(
    inputs=("bars", "features", "labels", "model_candidate"),
    rooms=("market", "features", "models", "risk", "trading", "venue", "backtest", "reporting", "research"),
    sections=("market", "model", "research", "risk", "live"),
    kept=KeptFacts,
)
def backtest_report(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    features: pd.DataFrame,
    labels: pd.DataFrame,
    model_candidate: dict[str, Any],
) -> dg.MaterializeResult[dict[str, Any]]:
    """Two backtests with costs and the configured (pessimistic) fills, out of fold over the training span and on the unseen last sessions;
    deflated by every model ever tried, with the probability that the search behind it was overfitted and its spread over paths."""
    oof = pd.read_parquet(settings.folders.assets / OUT_OF_FOLD)
    report = backtesting.backtest_candidate(settings, model_candidate["version"], Path(model_candidate["bundle"]), features, oof, labels)
    for line in report.headlines:
        context.log.info(line)
    return dg.MaterializeResult(
        value=report.facts,
        metadata={
            **{name: value for name, value in report.facts.items() if isinstance(value, int | float | str)},
            "tearsheets": dg.MetadataValue.md("\n".join(f"- [{path.name}]({path.as_uri()})" for path in report.files)),
            "equity": picture("Equity against equal-weight buy and hold: out of fold, then the unseen sessions", _equity(report)),
        },
    )


def _equity(report: backtesting.BacktestReport) -> "Callable[[Axes], None]":
    def draw(axes: "Axes") -> None:
        for result, colour in ((report.research, "tab:blue"), (report.unseen, "tab:orange")):
            if result is not None:
                axes.plot(result.equity.index, result.equity / result.equity.iloc[0], color=colour, linewidth=1.0)
                axes.plot(result.benchmark.index, result.benchmark / result.benchmark.iloc[0], color="0.7", linewidth=0.8)
        axes.set_yscale("log")

    return draw
