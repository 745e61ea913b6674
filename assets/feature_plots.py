"""Pictures of the features: regimes over price, training against recent distributions, and which columns say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import pandas as pd

from assets.plots import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 20
_BINS = 40


def regimes_over_price(frame: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """The market's cumulative log return, and below it the filtered probabilities of the calmest and the wildest regime."""
    market = frame["return_1"].groupby(level="timestamp").mean().cumsum()
    regime = frame[["regime_low_vol", "regime_high_vol"]].groupby(level="timestamp").first()
    drawing = _figure(9.0, 4.6)
    price, chance = drawing.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    price.plot(market.index, market.to_numpy(), linewidth=0.8)
    wild = regime["regime_high_vol"].to_numpy() > 0.5
    price.fill_between(regime.index, 0, 1, where=wild, transform=price.get_xaxis_transform(), alpha=0.2, color="tab:red", linewidth=0)
    price.set_ylabel("market, log")
    chance.stackplot(
        regime.index,
        regime["regime_low_vol"],
        1.0 - regime.sum(axis=1, min_count=2),
        regime["regime_high_vol"],
        colors=("tab:green", "lightgrey", "tab:red"),
        labels=("low volatility", "middle", "high volatility"),
        alpha=0.7,
    )
    chance.set_ylim(0, 1)
    chance.set_ylabel("P(regime | past)")
    chance.legend(fontsize=7, loc="upper left", ncols=3)
    return figure("Market and its volatility regime", drawing)


def training_against_recent(frame: pd.DataFrame, cut: pd.Timestamp) -> dg.MarkdownMetadataValue:
    """Histograms before and after ``cut`` of the columns that moved most (largest distance of the two distribution functions)."""
    later = frame.index.get_level_values("timestamp") > cut
    if later.all() or not later.any():
        return dg.MetadataValue.md("Every bar was seen in training: there is nothing recent to compare.")
    train, recent = frame[~later], frame[later]
    moved = {name: _distance(train[name].dropna().to_numpy(), recent[name].dropna().to_numpy()) for name in frame.columns}
    worst = sorted((name for name in moved if moved[name] > 0.0), key=lambda name: -moved[name])[:_SHOWN]
    drawing = _figure(11.0, 8.0)
    for axes, name in zip(drawing.subplots(5, 4).ravel(), worst, strict=False):
        both = frame[name].dropna()
        low, high = np.quantile(both, [0.005, 0.995])
        edges = np.linspace(low, high if high > low else low + 1.0, _BINS)
        for part, colour, label in ((train, "tab:blue", "training"), (recent, "tab:orange", "recent")):
            axes.hist(part[name].dropna().clip(edges[0], edges[-1]), bins=edges, density=True, alpha=0.5, color=colour, label=label)
        axes.set_title(f"{name}  {moved[name]:.2f}", fontsize=8)
        axes.tick_params(labelsize=6)
        axes.set_yticks([])
    drawing.axes[0].legend(fontsize=6)
    return figure("Training against recent, by distance of the distribution functions", drawing)


def correlation_map(frame: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """Rank correlations of all columns."""
    matrix = frame.rank().corr()
    drawing = _figure(10.0, 9.0)
    axes = drawing.subplots()
    shown = axes.imshow(matrix.to_numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_xticks(range(len(matrix)), matrix.columns, rotation=90, fontsize=5)
    axes.set_yticks(range(len(matrix)), matrix.columns, fontsize=5)
    drawing.colorbar(shown, shrink=0.6)
    return figure("Rank correlation of the features", drawing)


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Kolmogorov's distance of two samples; 0 where one is empty."""
    if not len(one) or not len(other):
        return 0.0
    one, other = np.sort(one), np.sort(other)
    points = np.concatenate([one, other])
    gaps = np.searchsorted(one, points, side="right") / len(one) - np.searchsorted(other, points, side="right") / len(other)
    return float(np.abs(gaps).max())


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
