"""The figures of a set of out-of-fold predictions, each beside the baseline and the noise it must be read against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alphatrade_pipelines.models.fitting import FoldFit
from alphatrade_pipelines.models.metrics import Reliability, auc, brier, log_losses, reliability
from alphatrade_pipelines.models.paired import paired_bootstrap
from alphatrade_pipelines.models.payoff import PayoffEstimate
from alphatrade_pipelines.models.weights import clustered_error, effective_size, time_blocks


def evaluate(oof: pd.DataFrame, payoff: PayoffEstimate) -> tuple[dict[str, float], Reliability]:
    """Metrics by name, and the reliability bins.

    ``log_loss_gain`` is base-rate log loss minus the model's (nats, positive = the model knows something), where the base rate is that of
    the rows each fold was trained on; ``log_loss_gain_error`` is its standard error clustered in time. ``n_effective`` is the number of
    independent outcomes. ``logit_*`` are the figures of the logistic baseline on the same rows, ``logit_gain`` its log loss minus the
    model's (positive = the trees are worth having) with a clustered error. ``brier_*`` decompose the Brier score. ``extrapolated`` is the
    share of rows whose score lies beyond all that calibration saw. ``tradable`` is the share of rows whose lower bound exceeds the
    break-even probability, ``tradable_return`` the mean net return of their brackets, with its clustered error.
    """
    y, p = oof["label"].to_numpy(np.float64), oof["probability"].to_numpy(np.float64)
    base, returns = oof["base_rate"].to_numpy(np.float64), oof["ret"].to_numpy(np.float64)
    blocks = time_blocks(oof)
    n_effective = effective_size(y, blocks)
    logit = oof["baseline_score"].to_numpy(np.float64)
    model_loss, base_loss, logit_loss = log_losses(y, p), log_losses(y, base), log_losses(y, logit)
    bins = reliability(y, p, n_effective)
    tradable = oof["lower"].to_numpy(np.float64) > payoff.break_even
    metrics = {
        "rows": float(len(y)),
        "n_effective": n_effective,
        "base_rate": float(y.mean()),
        "log_loss": float(model_loss.mean()),
        "base_log_loss": float(base_loss.mean()),
        "log_loss_gain": float((base_loss - model_loss).mean()),
        "log_loss_gain_error": clustered_error(base_loss - model_loss, blocks),
        "brier": brier(y, p),
        "base_brier": brier(y, base),
        "brier_reliability": bins.brier.reliability,
        "brier_resolution": bins.brier.resolution,
        "brier_uncertainty": bins.brier.uncertainty,
        "brier_within": bins.brier.within,
        "logit_log_loss": float(logit_loss.mean()),
        "logit_brier": brier(y, logit),
        "logit_auc": auc(y, logit),
        "logit_gain": float((logit_loss - model_loss).mean()),
        "logit_gain_error": clustered_error(logit_loss - model_loss, blocks),
        "ece": bins.ece,
        "ece_debiased": bins.debiased,
        "ece_noise": bins.noise,
        "ece_noise_95": bins.noise_95,
        "auc": auc(y, p),
        "extrapolated": float(oof["extrapolated"].mean()),
        "payoff": payoff.payoff,
        "payoff_error": payoff.payoff_error,
        "break_even": payoff.break_even,
        "mean_return": float(returns.mean()),
        "mean_return_error": clustered_error(returns, blocks),
        "tradable": float(tradable.mean()),
    }
    if tradable.sum() > 1:
        metrics["tradable_return"] = float(returns[tradable].mean())
        metrics["tradable_return_error"] = clustered_error(returns[tradable], blocks[tradable])
    return metrics, bins


def fold_table(oof: pd.DataFrame, fits: Sequence[FoldFit], knobs: Sequence[str] = ()) -> pd.DataFrame:
    """One row a fold: its span, rows, base rates, log losses, AUC, number of trees, kind of calibration, the baseline's penalty, and the
    ``knobs`` of its learner by name."""
    rows = []
    for k, part in oof.groupby("fold"):
        y, p = part["label"].to_numpy(np.float64), part["probability"].to_numpy(np.float64)
        times = part.index.get_level_values("timestamp")
        rows.append(
            {
                "fold": int(str(k)),
                "first": times.min(),
                "last": times.max(),
                "rows": len(part),
                "base_rate": float(y.mean()),
                "base_rate_train": float(part["base_rate"].iloc[0]),
                "log_loss": float(log_losses(y, p).mean()),
                "base_log_loss": float(log_losses(y, part["base_rate"].to_numpy(np.float64)).mean()),
                "logit_log_loss": float(log_losses(y, part["baseline_score"].to_numpy(np.float64)).mean()),
                "auc": auc(y, p),
                "trees": fits[int(str(k))].trees,
                "calibrator": fits[int(str(k))].calibration.map.kind,
                "penalty": fits[int(str(k))].baseline.penalty,
                **{name: getattr(fits[int(str(k))].learner, name) for name in knobs},
            }
        )
    return pd.DataFrame(rows).set_index("fold")


def compare_predictions(candidate: pd.DataFrame, champion: pd.DataFrame) -> dict[str, float]:
    """Candidate against champion on the rows both predicted out of fold: log loss gain of the candidate, paired, by fold and in all.

    Frames as :attr:`TrainingResult.oof`. Returns ``champion_gain`` (champion's minus candidate's mean log loss), its time-clustered
    ``champion_gain_error``, ``champion_rows`` in common, ``champion_folds_won``: the share of the candidate's folds in which it has
    the lower loss, and ``champion_gain_confidence``: how often it is no worse when history is drawn anew in blocks as long as labels live
    (:func:`~alphatrade_pipelines.models.paired.paired_bootstrap`). ``champion_rows`` alone, 0, means they cannot be compared: no row in
    common, or more than one outcome in a hundred differs because the barriers do.
    """
    # a data frame join keeps the pairing honest: same symbol, same decision time, same outcome
    theirs = champion[["label", "probability"]].add_suffix("_champion")
    both = candidate[["fold", "t1", "label", "probability"]].join(theirs, how="inner")
    same = both["label"] == both["label_champion"]
    if both.empty or same.mean() < 0.99:
        return {"champion_rows": 0.0}
    both = both[same]  # the rest are bars revised since
    y = both["label"].to_numpy(np.float64)
    gain = log_losses(y, both["probability_champion"].to_numpy(np.float64)) - log_losses(y, both["probability"].to_numpy(np.float64))
    by_fold = pd.Series(gain, index=both["fold"].to_numpy()).groupby(level=0).mean()
    return {
        "champion_rows": float(len(both)),
        "champion_gain": float(gain.mean()),
        "champion_gain_error": clustered_error(gain, time_blocks(both)),
        "champion_gain_confidence": paired_bootstrap(gain, both).confidence,
        "champion_folds_won": float((by_fold > 0).mean()),
    }
