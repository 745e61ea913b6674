"""What a backtest gave: equity, trades, costs, and the events behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import numpy as np
import pandas as pd

from alphatrade_pipelines.backtest.history import History
from alphatrade_pipelines.backtest.statistics import Performance, annual_sharpe, performance, returns_of, turnover
from alphatrade_pipelines.market.adjustment import adjust_forward
from alphatrade_pipelines.reporting.book import Fill
from alphatrade_pipelines.reporting.protection import ProtectionMeter
from alphatrade_pipelines.reporting.summary import Summary
from alphatrade_pipelines.reporting.trades import Attribution, RoundTrip, merged, trade_ledger
from alphatrade_pipelines.trading.events import Event
from alphatrade_pipelines.venue.exchange.exchange import Exchange


@dataclass(frozen=True, slots=True)
class Costs:
    """Money, positive = paid. ``market``: spread, impact and latency, from the market price before cost; ``fees`` regulatory; both are
    inside the equity curve. ``dividends`` were received."""

    market: Decimal
    fees: Decimal
    dividends: Decimal
    traded: Decimal

    @property
    def bps_of_traded(self) -> float:
        """Market cost and fees in basis points of the traded value."""
        return float((self.market + self.fees) / self.traded * 10_000) if self.traded else 0.0


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """``equity`` and ``benchmark`` (equal-weight buy and hold with dividends, without costs) have one value a session close (UTC),
    after a first one at the start. ``exposure`` = share of closes with any position. ``digest`` hashes all executions: equal digests,
    equal fills to the last digit. ``events`` are those the run kept.
    """

    symbols: tuple[str, ...]
    profile: str
    seed: int
    equity: pd.Series
    benchmark: pd.Series
    fills: tuple[Fill, ...]
    trades: tuple[RoundTrip, ...]
    attribution: Attribution
    costs: Costs
    summary: Summary
    seconds_unprotected: float
    venue_seconds_unprotected: float
    exposure: float
    digest: str
    events: tuple[Event, ...] = field(repr=False)

    def performance(self, trials: int = 1, trial_variance: float | None = None) -> Performance:
        """Statistics of the equity curve, deflated by ``trials`` (see ``statistics.performance``)."""
        return performance(self.equity, trials, trial_variance)

    @property
    def hold_return(self) -> float:
        """Total return of equal-weight buy and hold over the same sessions."""
        return float(self.benchmark.iloc[-1] / self.benchmark.iloc[0] - 1)

    @property
    def hold_sharpe(self) -> float:
        """Annual Sharpe ratio of equal-weight buy and hold."""
        return annual_sharpe(returns_of(self.benchmark))

    @property
    def turnover(self) -> float:
        """Traded value a year over mean equity, both sides counted."""
        return turnover(float(self.costs.traded), self.equity)

    @property
    def hit_rate(self) -> float:
        """Share of round trips that made money; NaN without any."""
        return float(np.mean([trade.pnl > 0 for trade in self.trades])) if self.trades else float("nan")


def make_result(exchange: Exchange, log: History, meter: ProtectionMeter, began: datetime, held: Sequence[int]) -> BacktestResult:
    """Gather the result of a finished run. ``held``: number of positions at each session close."""
    ledger = trade_ledger(log.kept, log.book)
    history = exchange.equity_history
    stamps = pd.DatetimeIndex([began, *(at for _, at, _ in history)], name="at")
    equity = pd.Series([float(exchange.config.cash), *(float(value) for _, _, value in history)], index=stamps, name="equity")
    account = exchange.cash_account
    return BacktestResult(
        symbols=exchange.tape.symbols,
        profile=exchange.profile.name,
        seed=exchange.config.seed,
        equity=equity,
        benchmark=buy_and_hold(exchange.tape.frame, stamps, exchange),
        fills=tuple(log.book.fills()),
        trades=tuple(merged(ledger.round_trips)),
        attribution=ledger.attribution(),
        costs=Costs(_market_cost(exchange), account.fees_paid, account.dividends, ledger.bought + ledger.sold),
        summary=log.summary,
        seconds_unprotected=meter.total,
        venue_seconds_unprotected=sum(exchange.ledger.unprotected_seconds.values()),
        exposure=float(np.mean([count > 0 for count in held])) if held else 0.0,
        digest=exchange.digest(),
        events=tuple(log.kept),
    )


def _market_cost(exchange: Exchange) -> Decimal:
    signed = ((fill.price - fill.reference) * (1 if fill.side == "buy" else -1) * fill.qty for fill in exchange.fills())
    return sum(signed, Decimal(0))


def buy_and_hold(bars: pd.DataFrame, stamps: pd.DatetimeIndex, exchange: Exchange) -> pd.Series:
    """Equal money in every symbol that traded by the first session, dividends reinvested, no costs; cash where there is none."""
    close = adjust_forward(bars)["close"].unstack("symbol").sort_index().ffill()
    known = exchange.tape.calendar.known_at(pd.DatetimeIndex(close.index), exchange.tape.timeframe)
    close.index = known
    values = close.reindex(close.index.union(stamps)).ffill().loc[stamps]
    first = values.iloc[0] if values.iloc[0].notna().any() else values.iloc[1]
    present = first.dropna().index
    relative = (values[present] / first[present]).fillna(1.0).mean(axis=1)
    return (relative * float(exchange.config.cash)).rename("buy_and_hold")
