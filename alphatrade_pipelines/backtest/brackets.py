"""Session returns of many rules over the same brackets at once, without the exchange: what a search compares its configurations by.

The exchange-driven backtest judges one model and takes seconds; a probability of overfitting needs dozens of columns. Here every bracket
has the same size, fills exactly as its label says (entry at the next open, stop first, net of cost) and is marked to market at each close.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market import SessionCalendar
from alphatrade_pipelines.market.jit import kernel
from alphatrade_pipelines.models import BarrierConfig

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Band:
    """Take the bracket when its score's rank among the scores seen before lies in [low, high)."""

    name: str
    low: float
    high: float


# everything, the highest scores, and the lowest: a model that knows something must not do equally well with its worst as with its best
BANDS = (
    Band("all", 0.0, 1.01),
    Band("top half", 0.5, 1.01),
    Band("top quarter", 0.75, 1.01),
    Band("top tenth", 0.9, 1.01),
    Band("bottom half", 0.0, 0.5),
    Band("bottom quarter", 0.0, 0.25),
    Band("bottom tenth", 0.0, 0.1),
)


VARIANTS = ("as configured", "closer", "wider", "shorter")


def variants_of(barrier: BarrierConfig) -> dict[str, BarrierConfig]:
    """The brackets a search would try beside the configured one, by the names of :data:`VARIANTS`."""

    def scaled(factor: float) -> BarrierConfig:
        return replace(barrier, stop_multiple=barrier.stop_multiple * factor, target_multiple=barrier.target_multiple * factor)

    short = replace(barrier, horizon=max(1, barrier.horizon // 2))
    return dict(zip(VARIANTS, (barrier, scaled(0.75), scaled(1.5), short), strict=True))


def trailing_rank(scores: pd.Series, group: pd.Series | None = None) -> pd.Series:
    """Rank in (0, 1] of each score among those of its ``group`` (a fold: scores of two models are not comparable) up to its time.

    Index (symbol, timestamp). Point in time: no later score has a part in it.
    """
    ordered = scores.sort_index(level=["timestamp", "symbol"])
    if group is None:
        alone: pd.Series = ordered.expanding().rank(pct=True).reindex(scores.index)
        return alone
    parts = [part.expanding().rank(pct=True) for _, part in ordered.groupby(group.reindex(ordered.index), sort=False)]
    ranks: pd.Series = pd.concat(parts).reindex(scores.index)
    return ranks


def band_returns(brackets: pd.DataFrame, rank: pd.Series, bars: pd.DataFrame, bands: tuple[Band, ...] = BANDS) -> pd.DataFrame:
    """Return a session of each band (columns), every bracket being one of equal size.

    Args:
        brackets: labels on (symbol, timestamp of the decision) with ``ret`` (net), ``held`` (bars in the market) and, where not all are
            long, ``side``.
        rank: rank of the score, in (0, 1], on the index of the brackets that were scored.
        bars: forward-adjusted bars that hold every bracket's life.
        bands: which ranks each column takes.

    Returns:
        Frame indexed by session (its open, UTC), from the first decision on; fractions of a capital that could carry
        every bracket open at once. A bracket's last part, cost included, is booked on the last bar it was held; one that left at an open,
        on the bar before. Sessions without a bracket are 0.

    Raises:
        ValueError: a bracket without its bar.
    """
    taken = brackets.loc[rank.index.intersection(brackets.index, sort=False)].sort_index()
    rows = bars.index.get_indexer(taken.index)
    if (rows < 0).any():
        raise ValueError(f"expected the bar of every bracket, found none for {taken.index[int(np.argmax(rows < 0))]}")
    sessions, session_of = _sessions(bars)
    lows, highs = (np.array([getattr(band, side) for band in bands], dtype=np.float64) for side in ("low", "high"))
    booked, opened = _book(
        rows.astype(np.int64),
        np.maximum(taken["held"].to_numpy(np.int64), 1),
        taken["ret"].to_numpy(np.float64),
        taken["side"].to_numpy(np.float64) if "side" in taken else np.ones(len(taken)),
        rank.reindex(taken.index).to_numpy(np.float64),
        bars["open"].to_numpy(np.float64),
        bars["close"].to_numpy(np.float64),
        session_of,
        np.column_stack([lows, highs]),
        len(sessions),
    )
    capacity = max(float(opened.max()), 1.0)
    frame = pd.DataFrame(booked / capacity, index=sessions, columns=[band.name for band in bands])
    first = int(session_of[rows].min()) if len(rows) else 0
    return frame.iloc[first:]


def exposure_of(brackets: pd.DataFrame, rank: pd.Series, bands: tuple[Band, ...] = BANDS) -> pd.Series:
    """Bars in the market of each band, as a share of taking every bracket."""
    held = np.maximum(brackets["held"].reindex(rank.index).to_numpy(np.float64), 1.0)
    values = rank.to_numpy(np.float64)
    shares = [held[(values >= band.low) & (values < band.high)].sum() / held.sum() for band in bands]
    return pd.Series(shares, index=[band.name for band in bands])


def over_the_market(returns: pd.DataFrame, exposure: pd.Series, everything: str = "all") -> pd.DataFrame:
    """Returns of each band over taking every bracket at the same average exposure: what its choice of moments and symbols adds.

    In a rising market every long rule earns, and the more it holds the steadier: the drift would win every comparison and hide whether
    choosing means anything. The column ``everything`` is zero by construction and is left out.
    """
    market = returns[everything].to_numpy(np.float64)[:, None]
    chosen = returns.drop(columns=everything)
    extra: pd.DataFrame = chosen - market * exposure.reindex(chosen.columns).to_numpy(np.float64)[None, :]
    return extra


def _sessions(bars: pd.DataFrame) -> tuple[pd.DatetimeIndex, IntArray]:
    """The sessions of the bars by their opens, and which one each bar belongs to."""
    opens, _ = SessionCalendar().bounds_of(pd.DatetimeIndex(bars.index.get_level_values("timestamp")))
    sessions, position = np.unique(opens, return_inverse=True)
    return pd.DatetimeIndex(pd.to_datetime(sessions, unit="ns", utc=True), name="session"), position.astype(np.int64)


@kernel
def _book(
    rows: IntArray,
    held: IntArray,
    ret: FloatArray,
    side: FloatArray,
    rank: FloatArray,
    opens: FloatArray,
    closes: FloatArray,
    session_of: IntArray,
    bands: FloatArray,
    sessions: int,
) -> tuple[FloatArray, IntArray]:
    """Profit by session and band in units of one bracket, and brackets open at each session's end (all bands)."""
    booked, opened = np.zeros((sessions, len(bands))), np.zeros(sessions, dtype=np.int64)
    for k in range(len(rows)):
        first = rows[k] + 1
        value = 1.0
        for j in range(first, first + held[k]):
            last = j == first + held[k] - 1
            now = 1.0 + ret[k] if last else 1.0 + side[k] * (closes[j] / opens[first] - 1.0)
            session = session_of[j]
            opened[session] += 1
            for b in range(len(bands)):
                if bands[b, 0] <= rank[k] < bands[b, 1]:
                    booked[session, b] += now - value
            value = now
    return booked, opened
