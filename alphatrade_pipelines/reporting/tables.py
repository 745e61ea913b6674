"""Journal facts as tables for people: fills against their reference prices, and round trips."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from alphatrade_pipelines.reporting.book import OrderBook
from alphatrade_pipelines.reporting.trades import TradeLedger, merged
from alphatrade_pipelines.trading.events import Event

FILL_COLUMNS = ["at", "symbol", "role", "side", "qty", "price", "reference", "shortfall_bps", "client_order_id"]
TRADE_COLUMNS = ["symbol", "side", "qty", "entry_at", "entry_price", "exit_at", "exit_price", "exit", "pnl", "return_pct", "dividends"]


def fill_table(events: Iterable[Event]) -> pd.DataFrame:
    """One row a fill, oldest first. ``shortfall_bps``: basis points of ``reference``, positive = cost; NaN for fills of foreign orders."""
    rows = [
        (
            fill.execution.at,
            fill.execution.symbol,
            fill.role,
            str(fill.execution.side),
            float(fill.execution.qty),
            float(fill.execution.price),
            float(fill.reference) if fill.reference is not None else float("nan"),
            float(fill.shortfall_bps) if fill.shortfall_bps is not None else float("nan"),
            fill.client_order_id,
        )
        for fill in OrderBook.of(events).fills()
    ]
    return pd.DataFrame(rows, columns=FILL_COLUMNS)


def quality_by_role(fills: pd.DataFrame) -> pd.DataFrame:
    """Shortfall by role (entry, stop, target, exit), weighted by traded value, with its standard error over fills, in basis points."""
    rows = []
    for role, part in fills.dropna(subset=["shortfall_bps"]).groupby("role"):
        value = part["qty"] * part["price"]
        mean = float((part["shortfall_bps"] * value).sum() / value.sum())
        error = float(part["shortfall_bps"].std()) / len(part) ** 0.5 if len(part) > 1 else float("nan")
        rows.append((role, len(part), float(value.sum()), mean, error))
    return pd.DataFrame(rows, columns=["role", "fills", "traded", "shortfall_bps", "error_bps"])


def trade_table(ledger: TradeLedger) -> pd.DataFrame:
    """One row a round trip, oldest exit first; money in account currency."""
    rows = [
        (
            trip.symbol,
            str(trip.side),
            float(trip.qty),
            trip.entry_at,
            float(trip.entry_price),
            trip.exit_at,
            float(trip.exit_price),
            trip.exit_role,
            float(trip.pnl),
            float(trip.return_fraction) * 100,
            float(trip.dividends),
        )
        for trip in merged(ledger.round_trips)
    ]
    return pd.DataFrame(rows, columns=TRADE_COLUMNS).sort_values("exit_at", kind="stable", ignore_index=True)
