"""What the gate asks about the search behind a model: would the best of its configurations have stayed the best, and on every path?

The columns of the probability of overfitting are the configurations a person with these out-of-fold scores could have chosen from: each
score column there is (trees, and the linear baseline where it was fitted) x six bands of its trailing rank, low ones included x four
brackets. A score that means something makes its high bands win in any half of history; without meaning the best of them in one half is
anybody in the other. Returns are over taking every bracket at equal exposure, so that a rising market decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.backtest.brackets import BANDS, VARIANTS, band_returns, exposure_of, over_the_market, trailing_rank, variants_of
from alphatrade_pipelines.backtest.overfitting import OverfittingReport, PathReport, backtest_overfitting, path_distribution
from alphatrade_pipelines.models import LearnerConfig, ModelDataError, triple_barrier
from alphatrade_pipelines.models.folds import FoldFeatures, Progress, Rows, path_predictions
from alphatrade_pipelines.models.labels import LabelConfig
from alphatrade_pipelines.models.learner import fit_trees, scores
from alphatrade_pipelines.models.validation import CombinatorialPurgedCV

FloatArray = npt.NDArray[np.float64]
GROUPS = 16
# out-of-fold scores of learners fitted beside each other, where they are present
SCORES = ("score", "baseline_score")
# the band a path is traded by: what the configured threshold comes to depends on the calibration, which paths do without
PATH_BAND = "top quarter"


@dataclass(frozen=True)
class Configurations:
    """Session returns over the market of every configuration (columns), and what CSCV says about choosing among them."""

    returns: pd.DataFrame
    report: OverfittingReport


def configurations(
    oof: pd.DataFrame, labels: pd.DataFrame, bars: pd.DataFrame, volatility: pd.Series, config: LabelConfig
) -> Configurations:
    """Score every configuration on the out-of-fold rows.

    Args:
        oof: as :attr:`~alphatrade_pipelines.models.training.TrainingResult.oof`.
        labels: what was learned, with the ``side`` of each bracket where not all are long.
        bars: forward-adjusted training bars; brackets end inside them.
        volatility: per-bar volatility on the index of ``bars``, as the labels were made with.
        config: the configured brackets.

    Raises:
        ValueError: fewer than 32 sessions, or a row without its bar.
    """
    columns: dict[str, pd.Series] = {}
    ranks = {name: trailing_rank(oof[name], oof["fold"]) for name in SCORES if name in oof}
    side: int | pd.Series = labels["side"].reindex(bars.index) if "side" in labels else 1
    longs, shorts = variants_of(config.barrier), variants_of(config.short or config.barrier)
    for bracket in VARIANTS:
        outcomes = triple_barrier(bars, volatility, longs[bracket], side=side, short=shorts[bracket])
        for name, rank in ranks.items():
            known = rank[rank.index.isin(outcomes.index)]
            extra = over_the_market(band_returns(outcomes, known, bars), exposure_of(outcomes, known))
            columns |= {f"{name}, {band}, {bracket}": extra[band] for band in extra}
    returns = pd.DataFrame(columns).fillna(0.0)
    groups = min(GROUPS, len(returns) // 2 // 2 * 2)
    return Configurations(returns, backtest_overfitting(returns, groups))


@dataclass(frozen=True)
class Paths:
    """Session returns over the market of each backtest path (columns) of a combinatorial purged cross-validation."""

    returns: pd.DataFrame
    report: PathReport


def walk_paths(
    rows: Rows,
    splitter: CombinatorialPurgedCV,
    learner: LearnerConfig,
    trees: int,
    labels: pd.DataFrame,
    bars: pd.DataFrame,
    fold_features: FoldFeatures | None = None,
    progress: Progress | None = None,
) -> Paths:
    """Fit every split and trade each path by its top quarter of scores.

    ``trees`` is the number the nested search settled on; nothing else is taken from outside a split's training rows. Raises
    ModelDataError as the splitter does.
    """

    def fit_predict(train: Rows, test: Rows) -> FloatArray:
        X, y, w = train.arrays
        return scores(fit_trees(X, y, w, trees, learner, list(train.X.columns)), test.arrays[0])

    predicted = path_predictions(rows, splitter, fit_predict, progress, fold_features)
    band = tuple(one for one in BANDS if one.name in ("all", PATH_BAND))
    group = _groups(rows, splitter)
    paths = {}
    for path in predicted:
        rank = trailing_rank(predicted[path], group)
        paths[path] = over_the_market(band_returns(labels, rank, bars, band), exposure_of(labels, rank, band))[PATH_BAND]
    returns = pd.DataFrame(paths).fillna(0.0)
    return Paths(returns, path_distribution(returns))


def _groups(rows: Rows, splitter: CombinatorialPurgedCV) -> pd.Series:
    """The time group of each row: within one, a path's scores come from one model."""
    single = CombinatorialPurgedCV(splitter.n_groups, 1, 0)
    found = np.empty(len(rows.y), dtype=np.int64)
    for group, (_, test) in enumerate(single.split(rows.X, groups=rows.t1)):
        found[test] = group
    return pd.Series(found, index=rows.X.index)


def enough_for_paths(rows: Rows, splitter: CombinatorialPurgedCV, least: int) -> bool:
    """False when a split would have fewer than ``least`` training rows or only one class: small data have no paths to speak of."""
    try:
        return all(len(train) >= least and rows.y.iloc[train].nunique() == 2 for train, _ in splitter.split(rows.X, groups=rows.t1))
    except ModelDataError:
        return False
