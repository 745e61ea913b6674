"""Group `live`: what the newest session did, read from its journal alone. The session itself is an asset of the job `live_execution`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.research import past_sessions
from alphatrade_pipelines.settings import Settings
from assets.plots import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from alphatrade_pipelines.trading.events import Event

TRADERS = ["team:trading"]


@dg.asset(group_name="live", owners=TRADERS, kinds={"sqlite", "python"}, code_version="1", deps=["live_session"])
def execution_quality(settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[pd.DataFrame]:
    """Every fill of the newest session against the price that was expected: implementation shortfall in basis points, by role."""
    from alphatrade_pipelines.reporting.tables import fill_table, quality_by_role

    path, events = _newest(settings)
    fills = fill_table(events)
    return dg.MaterializeResult(
        value=fills,
        metadata={
            "journal": dg.MetadataValue.path(path),
            "fills": len(fills),
            "by_role": dg.MetadataValue.md(bootstrap.as_markdown(quality_by_role(fills))),
            "shortfall": picture("Implementation shortfall by fill, bps (positive = cost)", _shortfall(fills)),
        },
    )


@dg.asset(group_name="live", owners=TRADERS, kinds={"sqlite", "python"}, code_version="1", deps=["live_session"])
def pnl_attribution(settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[pd.DataFrame]:
    """Round trips of the newest session and where their money came from; the components sum to the realised P&L to the cent."""
    from alphatrade_pipelines.reporting.tables import trade_table
    from alphatrade_pipelines.reporting.trades import trade_ledger

    path, events = _newest(settings)
    ledger = trade_ledger(events)
    parts = ledger.attribution()
    trades = trade_table(ledger)
    if parts.residual:
        raise ArithmeticError(f"attribution leaves {parts.residual} unexplained in {path}")
    return dg.MaterializeResult(
        value=trades,
        metadata={
            "journal": dg.MetadataValue.path(path),
            "round_trips": len(trades),
            "realised": float(parts.realised),
            "market": float(parts.market),
            "entry_slippage": float(parts.entry_slippage),
            "exit_slippage": float(parts.exit_slippage),
            "dividends": float(parts.dividends),
            "trades": dg.MetadataValue.md(bootstrap.as_markdown(trades.tail(25))),
            "cumulative": picture("Realised P&L, cumulative", _cumulative(trades)),
        },
    )


def _newest(settings: Settings) -> "tuple[str, list[Event]]":
    path = past_sessions.newest_journal(settings)
    return str(path), past_sessions.read_events(settings, path)


def _shortfall(fills: pd.DataFrame) -> "Callable[[Axes], None]":
    def draw(axes: "Axes") -> None:
        for role, rows in fills.groupby("role"):
            axes.scatter(rows["at"], rows["shortfall_bps"], s=12, label=str(role))
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.legend(frameon=False, fontsize=8)

    return draw


def _cumulative(trades: pd.DataFrame) -> "Callable[[Axes], None]":
    def draw(axes: "Axes") -> None:
        axes.step(trades["exit_at"], trades["pnl"].cumsum(), where="post")

    return draw
