"""Markets whose truth is planted, taken from bars to the gate by the product's own code: train, calibrate, backtest, weigh, judge.

Volume carries the only news there is: its logarithm moves slowly and, with an edge, leans on the returns that follow. Everything else is a
random walk. Small enough for hundreds of seeds: four symbols, 600 sessions, few and shallow trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.backtest.overfitting import effective_trials
from alphatrade_pipelines.backtest.statistics import returns_of
from alphatrade_pipelines.features import ewma_volatility
from alphatrade_pipelines.leaks.causal import probe_causal
from alphatrade_pipelines.leaks.world import World
from alphatrade_pipelines.market import SessionCalendar, adjust_forward
from alphatrade_pipelines.models import GateReport, Provenance, TrainingResult, evaluate_gate, train, triple_barrier
from alphatrade_pipelines.research import backtesting
from alphatrade_pipelines.settings import Settings, load_settings
from alphatrade_pipelines.trading.domain import ModelRef
from tests.models.makers import MadeUpState

SYMBOLS = ("A", "B", "C", "D")
CAUSAL = ("news", "momentum", "range")
DAILY_VOLATILITY = 0.015


@dataclass(frozen=True)
class Verdict:
    """Both reports of the gate, and what they were made from."""

    paper: GateReport
    live: GateReport
    metrics: dict[str, float]
    trained: TrainingResult


def market(seed: int, edge: float, sessions: int = 600) -> pd.DataFrame:
    """Daily bars; ``edge`` is the correlation of a day's news (seen in its volume) with the next day's return."""
    rng = np.random.default_rng(seed)
    stamps = pd.DatetimeIndex(SessionCalendar().sessions("2015-01-05", "2020-01-01")["open"].iloc[:sessions])
    pieces = []
    for _ in SYMBOLS:
        news, shocks = np.zeros(sessions), rng.normal(size=sessions)
        for day in range(1, sessions):
            news[day] = 0.9 * news[day - 1] + np.sqrt(1 - 0.9**2) * shocks[day]
        moves = np.sqrt(1 - edge**2) * rng.normal(size=sessions)
        moves[1:] += edge * news[:-1]
        close = 50 * np.exp(np.cumsum(DAILY_VOLATILITY * moves))
        opened = np.concatenate([[50.0], close[:-1]]) * np.exp(rng.normal(0, 0.002, sessions))
        high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.004, sessions)))
        low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 0.004, sessions)))
        volume = np.round(5e6 * np.exp(0.3 * news))
        pieces.append(np.column_stack([opened, high, low, close, volume, np.ones(sessions), np.zeros(sessions)]).round(2))
    columns = ["open", "high", "low", "close", "volume", "split", "dividend"]
    index = pd.MultiIndex.from_product([SYMBOLS, stamps], names=["symbol", "timestamp"])
    return pd.DataFrame(np.concatenate(pieces), index=index, columns=columns)


def features_of(bars: pd.DataFrame, leak: str = "") -> pd.DataFrame:
    """Three causal features, the volatility signals need, and, if asked, a leak: of the next close ("close") or the outcome ("outcome")."""
    by_symbol = bars.groupby(level="symbol", sort=False)
    frame = pd.DataFrame(
        {
            "news": np.log(bars["volume"]) - np.log(5e6),
            "momentum": np.log(bars["close"]) - np.log(by_symbol["close"].shift(5)),
            "range": np.log(bars["high"] / bars["low"]),
            "vol_ewma": ewma_volatility(bars),
        }
    )
    if leak == "close":
        frame["leak"] = np.log(by_symbol["close"].shift(-1) / bars["close"]).fillna(0.0)
    if leak == "outcome":
        frame["leak"] = np.log(by_symbol["close"].shift(-5) / bars["close"]).fillna(0.0)
    return frame


def settings_for(home: Path) -> Settings:
    """Small trees, few folds, daily brackets of five sessions; nothing is kept back."""
    model = {"iterations": 60, "folds": 4, "inner_folds": 3, "horizon": 5, "embargo": 5, "threads": 1, "cost_bps": 2.0}
    return load_settings(home=home, market={"symbols": SYMBOLS}, model=model, research={"holdout_sessions": 0, "cpcv_groups": 0})


def judge(settings: Settings, seed: int, edge: float, leak: str = "", probed: bool = True, whole: bool = True) -> Verdict:
    """From bars to both reports of the gate.

    ``probed`` False trusts the features blindly, as if nobody had looked for a leak. ``whole`` False leaves out the backtest, nine tenths
    of the time, when the rest refuses the model anyway: it is first judged as if its backtest were perfect, and a refusal stands.
    """
    bars = market(seed, edge)
    features = features_of(bars, leak)
    config = bootstrap.train_config(settings)
    labels = triple_barrier(adjust_forward(bars), features["vol_ewma"], config.barrier)
    state = MadeUpState((*CAUSAL, *(["leak"] if leak else [])))
    provenance = Provenance("d" * 64, "made up", "1Day", True, "commit")
    trained = train(features, labels, state, config, bars=adjust_forward(bars), provenance=provenance)
    metrics = {**trained.metrics, "no_look_ahead": 1.0}
    if probed:
        metrics["no_look_ahead"] = float(
            probe_causal(lambda world: features_of(world.bars, leak), World(bars), cuts=2, thorough=False).clean
        )
    search = backtesting.weigh_search(settings, trained.bundle, features, labels, bars, trained.oof)
    if not whole:
        verdict = _verdict({**metrics, **search, "deflated_sharpe": 1.0, "backtest_return": 1.0}, trained)
        if not verdict.live.passed:
            return verdict
    model = ModelRef("truth", "1", "b", "m", "d", "h", "c", "paper")
    named = backtesting.play_candidate(settings, model, trained.bundle, features, bars, trained.oof)
    trials = effective_trials(returns_of(named["research"].equity).to_frame())
    facts = backtesting.economics(settings, trained.bundle, features, labels, bars, trained.oof, named, trials)
    figures = {name: float(value) for name, value in facts.items() if isinstance(value, int | float)}
    return _verdict({**metrics, **figures}, trained)


def _verdict(metrics: dict[str, float], trained: TrainingResult) -> Verdict:
    return Verdict(evaluate_gate(metrics, "paper"), evaluate_gate(metrics, "live"), metrics, trained)
