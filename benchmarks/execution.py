"""Realised shortfall of each way to trade a large order, over the venue's exchange on real intraday bars: `python -m benchmarks.execution`.

Every symbol buys a given share of its usual daily volume once a session; arrival is the close of the bar the decision was made on. The
same decisions are traded by each algorithm, so differences are paired. The exchange fills by its `base` profile, without random
rejections and with a participation limit of 25 % instead of 2 %: with the latter the exchange itself would ration a single order and
so trade a schedule in disguise. Its impact is a square root of each execution's own size and fades at once: that flatters slicing, and
the market's drift over the horizon is the noise. The figures say what this exchange does to orders, no more.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from alphatrade_pipelines.backtest.driver import run_backtest
from alphatrade_pipelines.market import SessionCalendar, Timeframe, to_bars
from alphatrade_pipelines.models.liquidity import SessionLiquidity, session_liquidity
from alphatrade_pipelines.risk import LimitsConfig, SizingConfig
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.domain import Side, Signal
from alphatrade_pipelines.trading.events import Event, OrderIntended, OrderUpdated, ParentOpened
from alphatrade_pipelines.trading.execution import Algo, ExecutionConfig
from alphatrade_pipelines.venue.exchange.config import ExchangeConfig
from alphatrade_pipelines.venue.exchange.profiles import BASE
from benchmarks.made_up import MODEL

CALENDAR = SessionCalendar()
CASH = Decimal(10**11)
SIZES = (0.001, 0.01)
DECIDED_AFTER = timedelta(hours=1, minutes=30)
HELD = timedelta(hours=1, minutes=30)
SYMBOLS = ("AAPL", "CVX", "GE", "INTC", "NKE", "SPY")
STOP, TARGET, ASKED = 0.20, 0.25, 4.9  # barriers far away; ASKED times equity is what the sizing would buy at a volatility of 1
SIZED = SizingConfig(kelly_fraction=1.0, max_symbol_fraction=1e9, max_loss_at_stop=ASKED * STOP, volatility_target=1e-6)
OPEN_HANDED = LimitsConfig(
    max_trades_a_day=10**6,
    max_consecutive_losses=10**6,
    max_daily_loss=1.0,
    max_gross_exposure=1e9,
    max_net_exposure=1e9,
    max_symbol_exposure=1e9,
    max_order_value=1e15,
    max_order_qty=10**12,
    max_positions=1000,
    volatility_spike=1e12,
)


@dataclass(frozen=True)
class Study:
    """Real bars, and from which session on they are traded."""

    name: str
    bars: pd.DataFrame
    timeframe: Timeframe
    start: pd.Timestamp


@dataclass(frozen=True)
class Outcome:
    """What became of the decisions of one algorithm at one size: one row a decision, basis points against arrival, share bought."""

    shortfall: pd.Series
    done: pd.Series
    slices: float


def five_minutes(folder: Path, sessions: int) -> Study:
    """Five large US stocks and a fund, 2025."""
    raw = pd.read_parquet(folder / "intraday_5min_2025" / "bars_5min.parquet").rename(columns={"ts": "timestamp"})
    raw["timestamp"] = pd.DatetimeIndex(raw["timestamp"]).tz_localize("America/New_York").tz_convert("UTC")
    return _study("6 symbols, 5-minute bars 2025", raw[raw["symbol"].isin(SYMBOLS)], Timeframe.parse("5Min"), sessions)


def one_minute(folder: Path, sessions: int) -> Study:
    """SPY, 2024."""
    raw = pd.read_parquet(folder / "spy_1min_2024" / "spy_1min.parquet").rename(columns={"ts": "timestamp"})
    return _study("SPY, 1-minute bars 2024", raw, Timeframe.parse("1Min"), sessions)


def _study(name: str, raw: pd.DataFrame, timeframe: Timeframe, sessions: int) -> Study:
    bars = to_bars(raw).sort_index()
    stamps = pd.DatetimeIndex(bars.index.get_level_values("timestamp"))
    bars = bars[CALENDAR.in_session(stamps, timeframe)]
    opens = CALENDAR.sessions(stamps.min(), stamps.max())["open"]
    last = opens.iloc[min(21 + sessions, len(opens) - 1)]
    return Study(name, bars[bars.index.get_level_values("timestamp") < last], timeframe, opens.iloc[21])


def decisions(study: Study, liquidity: SessionLiquidity, size: float) -> list[Signal]:
    """One signal a symbol and session, asking for ``size`` of the daily volume known then."""
    found = []
    for (symbol, opened), known in sorted(liquidity.items()):
        at = (opened + DECIDED_AFTER).to_pydatetime()
        start = opened + DECIDED_AFTER - study.timeframe.duration
        close = CALENDAR.session_bounds(opened)[1]
        if opened < study.start or (symbol, start) not in study.bars.index or close - at < HELD + timedelta(minutes=5):
            continue
        price = float(study.bars.loc[(symbol, start), "close"])
        wanted = size * known.daily_volume * price / float(CASH)
        found.append(_signal(symbol, at, price, SIZED.volatility_target or 1.0, wanted, known, opened.to_pydatetime()))
    return found


def _signal(symbol: str, at: datetime, price: float, target: float, wanted: float, known: object, opened: datetime) -> Signal:
    cent = Decimal("0.01")
    return Signal(
        symbol=symbol, decision_time=at, side=Side.BUY, probability=0.99, lower=0.99, upper=0.99, payoff=5.0, payoff_error=0.0,
        reference_price=Decimal(repr(price)), stop_price=Decimal(repr(price * (1 - STOP))).quantize(cent),
        target_price=Decimal(repr(price * (1 + TARGET))).quantize(cent), volatility=target * ASKED / wanted, hold_until=at + HELD,
        model_version="1", feature_hash="", liquidity=known, session_open=opened,  # type: ignore[arg-type]
    )  # fmt: skip


def trade(study: Study, signals: list[Signal], algo: Algo) -> Outcome:
    """The same decisions by one algorithm."""
    step = study.timeframe.minutes * 60.0
    execution = ExecutionConfig(algo=algo, slice_s=step, max_slices=12, exits=False, saving_bps=1.0)
    core = CoreConfig(sizing=SIZED, limits=OPEN_HANDED, execution=execution, partial_entry_wait_s=2.0 * step, reconcile_interval_s=1800.0)
    profile = replace(BASE, name="bench", participation=0.25, rejection_probability=0.0)
    exchange = ExchangeConfig(start=study.start - timedelta(minutes=30), cash=CASH, profile=profile, seed=7)
    result = run_backtest(study.bars, signals, exchange, core, MODEL, study.timeframe, CALENDAR)
    return _outcome(result.events, signals)


def _outcome(events: tuple[Event, ...], signals: list[Signal]) -> Outcome:
    decision_of: dict[str, str] = {}
    asked: dict[str, Decimal] = {}
    paid, bought = defaultdict[str, Decimal](Decimal), defaultdict[str, Decimal](Decimal)
    slices = 0
    for event in events:
        match event:
            case ParentOpened(parent=parent):
                asked[parent.decision_id] = parent.qty
            case OrderIntended(purpose="entry" | "slice"):
                decision_of[event.request.client_order_id] = event.decision_id
                asked.setdefault(event.decision_id, event.request.qty)
                slices += 1
            case OrderUpdated(execution=execution) if execution is not None and event.order.client_order_id in decision_of:
                decision = decision_of[event.order.client_order_id]
                paid[decision] += execution.qty * execution.price
                bought[decision] += execution.qty
    arrival = {f"{signal.symbol}|{signal.decision_time.isoformat()}": signal.reference_price for signal in signals}
    key = {decision: "|".join(decision.split("|")[-2:]) for decision in asked}
    shortfall = {key[d]: float(paid[d] / bought[d] / arrival[key[d]] - 1) * 1e4 for d in asked if bought[d]}
    done = {key[d]: float(bought[d] / asked[d]) for d in asked}
    return Outcome(pd.Series(shortfall, dtype=float), pd.Series(done, dtype=float), slices / max(len(asked), 1))


def compare(study: Study, size: float) -> dict[Algo, Outcome]:
    """Every algorithm over the same decisions."""
    signals = decisions(study, session_liquidity(study.bars, study.timeframe, CALENDAR), size)
    return {algo: trade(study, signals, algo) for algo in (Algo.SINGLE, Algo.TWAP, Algo.VWAP, Algo.POV, Algo.SHORTFALL, Algo.AUTO)}


def report(study: Study, size: float, found: dict[Algo, Outcome]) -> Table:
    """Mean, its standard error and the spread of outcomes; differences are to the single order, decision by decision."""
    table = Table(
        "algorithm", "decisions", "bought", "slices", "shortfall bps", "± s.e.", "s.d.", "against single", "± s.e. ",
        title=f"{study.name}: {size:.1%} of the usual daily volume",
    )  # fmt: skip
    single = found[Algo.SINGLE].shortfall
    for algo, outcome in found.items():
        gap = (outcome.shortfall - single).dropna()
        values = [outcome.shortfall.mean(), _error(outcome.shortfall), outcome.shortfall.std(), gap.mean(), _error(gap)]
        cells = [f"{value:.2f}" for value in values]
        table.add_row(algo.value, str(len(outcome.shortfall)), f"{outcome.done.mean():.1%}", f"{outcome.slices:.1f}", *cells)
    return table


def _error(values: pd.Series) -> float:
    return float(values.std() / np.sqrt(max(len(values), 1)))


def data_folder() -> Path | None:
    """Where the real bars lie, if anywhere."""
    folder = Path(os.environ.get("ALPHATRADE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    return folder if (folder / "intraday_5min_2025").is_dir() else None


def main() -> None:
    """Print the whole comparison. An argument limits the number of sessions."""
    folder, sessions = data_folder(), int(sys.argv[1]) if len(sys.argv) > 1 else 20
    if folder is None:
        raise SystemExit("no real intraday bars found: set ALPHATRADE_DATA to the folder that holds intraday_5min_2025 and spy_1min_2024")
    console = Console(width=140)
    for study in (five_minutes(folder, sessions), one_minute(folder, sessions)):
        for size in SIZES:
            console.print(report(study, size, compare(study, size)))


if __name__ == "__main__":
    main()
