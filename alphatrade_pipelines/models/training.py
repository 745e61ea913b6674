"""From features and labels to a sealed, calibrated model and the honest figures that judge it."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
import pandas as pd

from alphatrade_pipelines.models.baseline import LogisticBaseline
from alphatrade_pipelines.models.bundle import PRIMARY, Bundle, canonical_json
from alphatrade_pipelines.models.correlation import baseline_correlation
from alphatrade_pipelines.models.drift import drift_reference
from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.evaluation import evaluate, fold_table
from alphatrade_pipelines.models.fitting import CalibrationConfig, FoldFit, OutOfFold, calibrate, fit_fold
from alphatrade_pipelines.models.fold_features import carrying
from alphatrade_pipelines.models.folds import FoldConfig, FoldFeatures, Progress, Rows, out_of_fold
from alphatrade_pipelines.models.knobs import KNOBS, KnobSearch
from alphatrade_pipelines.models.labels import PRIMARY_SCORE, BarrierConfig, LabelConfig
from alphatrade_pipelines.models.learner import LearnerConfig, fit_trees, model_bytes
from alphatrade_pipelines.models.metrics import Reliability
from alphatrade_pipelines.models.payoff import PayoffEstimate
from alphatrade_pipelines.models.primary import PrimaryModel
from alphatrade_pipelines.models.primary_fit import PrimaryConfig
from alphatrade_pipelines.models.tuning import Params, TuneConfig
from alphatrade_pipelines.models.venn_abers import bounds_to_dict
from alphatrade_pipelines.models.weights import WeightConfig, log_returns, weigher

_LABEL_COLUMNS = ["t1", "label", "ret", "risk"]


class FeatureState(Protocol):
    """What training needs of a fitted feature pipeline."""

    @property
    def feature_names(self) -> Any: ...
    @property
    def content_hash(self) -> str: ...
    def to_json(self) -> str: ...


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything a training depends on besides its data.

    ``min_rows`` labelled rows are required. A feature without a single value in them is refused by name, or, with
    ``drop_empty_features``, left out of the model and named in the manifest.
    """

    barrier: BarrierConfig = field(default_factory=BarrierConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    folds: FoldConfig = field(default_factory=FoldConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    min_rows: int = 500
    drop_empty_features: bool = False
    label: LabelConfig | None = None  # None: the bracket at ``barrier``
    weights: WeightConfig = field(default_factory=WeightConfig)
    tuning: TuneConfig | None = None  # None: the learner's knobs are those of ``learner``
    primary: PrimaryConfig | None = None  # of the primary model, where the label has one

    def __post_init__(self) -> None:
        if self.label is not None and self.label.barrier != self.barrier:
            raise ModelDataError("the same barriers in label and barrier", f"{self.label.barrier} and {self.barrier}")
        if self.label is not None and (self.label.short or self.label.cusum):
            found = f"short={self.label.short}, cusum={self.label.cusum}"
            raise ModelDataError("one set of barriers and a decision at every bar: a bundle trades no other", found)
        if self.bets_by_model != (self.primary is not None):
            found = f"label {self.label}, primary {self.primary}"
            raise ModelDataError("a primary configuration exactly where the label's primary is a model", found)

    @property
    def bets_by_model(self) -> bool:
        """Whether the side of each bet is that of a primary model."""
        return self.label is not None and self.label.primary == "model"

    def facts(self) -> dict[str, Any]:
        """As it is sealed and hashed: without a word of the tuning or the primary there is none of, so that these change no hash."""
        return {name: value for name, value in asdict(self).items() if not (name in ("tuning", "primary") and value is None)}


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the data and the code came from; goes into the manifest, and from there to every order."""

    data_hash: str
    data_source: str
    timeframe: str
    synthetic: bool = False
    git_commit: str = "unknown"


@dataclass(frozen=True)
class TrainingResult:
    """The sealed bundle and what the registry records about it.

    ``oof``: one row a label with fold, score, probability, lower, upper, base_rate, label, ret, risk, t1, weight; predicted out of fold
    with nested calibration. ``folds``: metrics by fold. ``importance``: CatBoost's feature importance in percent, largest first.
    """

    bundle: Bundle
    oof: pd.DataFrame
    metrics: Mapping[str, float]
    folds: pd.DataFrame
    reliability: Reliability
    importance: pd.Series
    config: TrainConfig


def train(
    features: pd.DataFrame,
    labels: pd.DataFrame,
    feature_state: FeatureState,
    config: TrainConfig | None = None,
    *,
    bars: pd.DataFrame,
    provenance: Provenance,
    fold_features: FoldFeatures | None = None,
    primary: PrimaryModel | None = None,
    progress: Progress | None = None,
    on_tuning: Callable[[Params], None] | None = None,
) -> TrainingResult:
    """Train, calibrate, evaluate and seal one model.

    ``features``: (symbol, timestamp) x feature names, NaN while warming up (those rows are left out); ``labels`` from
    :func:`~alphatrade_pipelines.models.labels.triple_barrier`; ``bars`` the forward-adjusted training bars (for the correlation baseline);
    ``fold_features`` refits the feature pipeline inside each fold; ``primary`` is the model on whose sides the labels bet (its score
    becomes a feature, and the bundle carries it); ``progress`` is told (stage, done, total).
    ``on_tuning`` is told the knobs of each trial of ``config.tuning`` before it touches any data: that is where the trial ledger counts.
    Equal input on one machine gives an equal bundle, to the byte.

    Raises ModelDataError for too few rows, one class only, NaN labels, labels without features, features the state does not name, or labels
    of other bets than the primary model's.
    """
    config = config or TrainConfig()
    if primary is not None or config.bets_by_model:
        features = _scored(features, labels, config, primary)
        fold_features = None if fold_features is None else carrying(fold_features, features[PRIMARY_SCORE])
    rows = training_rows(features, labels, feature_state, config, bars)
    search = KnobSearch(config.learner, config.tuning, on_tuning) if config.tuning else None
    oof, fits = out_of_fold(rows, config.learner, config.folds, fold_features, progress, config.calibration, search)
    oof = oof.join(labels[_LABEL_COLUMNS]).join(rows.weight)
    kept = labels.loc[rows.X.index]
    payoff = PayoffEstimate.from_labels(kept, config.barrier)
    final = _final_fit(rows, oof, fits, config, search)
    calibration, blob = final.calibration, model_bytes(final.model)
    reproduced = model_bytes(fit_trees(*rows.arrays, final.trees, final.learner, list(rows.X.columns))) == blob
    files = {
        "feature_state.json": feature_state.to_json().encode(),
        "model.cbm": blob,
        "calibrator.json": canonical_json(calibration.map.to_dict()),
        "venn_abers.json": canonical_json(bounds_to_dict(calibration.bounds)),
        "baseline.json": canonical_json(final.baseline.to_dict()),
        "drift_reference.json": canonical_json(drift_reference(rows.X, oof["probability"])),
        "baseline_correlation.json": canonical_json(baseline_correlation(bars)),
        "sizing.json": canonical_json(payoff.to_dict()),
    }
    learned = {"trees": final.trees, "calibration": {"kind": calibration.map.kind, "purged_log_loss": calibration.losses}}
    if search:
        learned["tuning"] = search.facts(final.learner, [fit.learner for fit in fits])
    if primary is not None:
        files[PRIMARY], learned["primary"] = canonical_json(primary.to_dict()), primary.facts()
    bundle = Bundle.seal(files, _facts(rows, feature_state, config, provenance) | learned)
    metrics, reliability = evaluate(oof, payoff)
    metrics |= {"trees": float(final.trees), "reproducible": float(reproduced)}
    metrics |= {f"calibration_loss_{kind}": loss for kind, loss in calibration.losses.items()}
    importance = pd.Series(final.model.get_feature_importance(), index=rows.X.columns, name="importance").sort_values(ascending=False)
    table = fold_table(oof, fits, list(KNOBS) if search else ())
    return TrainingResult(bundle, oof, metrics, table, reliability, importance, config)


def _final_fit(rows: Rows, oof: pd.DataFrame, fits: Sequence[FoldFit], config: TrainConfig, search: KnobSearch | None) -> FoldFit:
    """What is sealed. With fixed knobs: the median number of trees on all rows, calibrated on all outer scores.

    Where knobs are searched, scores of the folds are those of other knobs and would calibrate another model: everything a fold learns is
    learned once more, the same way, from all rows.
    """
    if search:
        return fit_fold(rows, search(rows), config.folds, config.calibration)
    X, y, w = rows.arrays
    trees = int(np.median([fit.trees for fit in fits]))
    seen = OutOfFold(oof["score"].to_numpy(np.float64), oof["fold"].to_numpy(np.int64), y, w, rows.t1)
    calibration = calibrate(seen, config.calibration, config.folds.embargo)
    baseline = LogisticBaseline.fit(X, y, w, sorted(fit.baseline.penalty for fit in fits)[len(fits) // 2])
    return FoldFit(config.learner, fit_trees(X, y, w, trees, config.learner, list(rows.X.columns)), trees, calibration, baseline)


def _scored(features: pd.DataFrame, labels: pd.DataFrame, config: TrainConfig, primary: PrimaryModel | None) -> pd.DataFrame:
    """Features with the primary's score, once it is sure that the labels are those of its bets."""
    if primary is None or config.label is None or not config.bets_by_model:
        found = "no primary model" if primary is None else "one, with a label that asks for none"
        raise ModelDataError("a primary model exactly where the label's primary is a model", found)
    scored = primary.scored(features)
    if "side" not in labels:
        raise ModelDataError("labels with the side of each bet", "no side", "Make them with make_labels on scored features.")
    own = config.label.side(scored, labels.index)
    other = int((own.to_numpy() != labels["side"].to_numpy()).sum())
    if other:
        found = f"another side in {other} of {len(labels)}"
        raise ModelDataError("labels of the primary model's own bets", found, "Make the labels again with this primary model.")
    return scored


def training_rows(
    features: pd.DataFrame, labels: pd.DataFrame, feature_state: FeatureState, config: TrainConfig, bars: pd.DataFrame | None = None
) -> Rows:
    """Rows that have both a label and every feature. Raises ModelDataError as :func:`train` says.

    Weights are those of :func:`~alphatrade_pipelines.models.weights.weigher`; return attribution needs the forward-adjusted ``bars``.
    """
    names = [*feature_state.feature_names, *([PRIMARY_SCORE] if config.bets_by_model else [])]
    unknown = [name for name in names if name not in features]
    absent = [name for name in _LABEL_COLUMNS if name not in labels]
    if unknown or absent:
        raise ModelDataError(f"the features {names} and the label columns {_LABEL_COLUMNS}", f"no {', '.join(unknown + absent)}")
    if labels[_LABEL_COLUMNS].isna().any().any() or not labels["label"].isin([0, 1]).all():
        raise ModelDataError("labels 0 or 1 with a return and an end time", "NaN or other values", "Make them with triple_barrier.")
    missing = labels.index.difference(features.index)
    if len(missing):
        raise ModelDataError(
            "features for every label", f"none for {len(missing)} labels, first {missing[0]}", "Use the same bars for both."
        )
    X = _usable(features.loc[labels.index, names], config)
    complete = np.isfinite(X.to_numpy(np.float64)).all(axis=1)
    if int(complete.sum()) < config.min_rows:
        worst = X.isna().mean().idxmax()
        found = f"{int(complete.sum())} of {len(labels)} labels (feature with most gaps: {worst})"
        raise ModelDataError(f"at least {config.min_rows} labels with every feature", found, "Load more history or more symbols.")
    y = labels.loc[complete, "label"].astype(np.int64)
    if y.min() == y.max():
        raise ModelDataError("wins and losses among the labels", f"{len(y)} labels, all {y.iloc[0]}", "Use more history or other barriers.")
    t1 = labels.loc[complete, "t1"]
    returns = None if bars is None else log_returns(bars)
    weigh = weigher(config.weights, returns)
    return Rows(X.loc[complete], y, weigh(y, t1), t1, weigh)


def _usable(X: pd.DataFrame, config: TrainConfig) -> pd.DataFrame:
    """NaN is a warm-up and may stand; infinity is a mistake, and a column of NaN is one unless it may be dropped."""
    endless = np.isinf(X.to_numpy(np.float64))
    if endless.any():
        row, column = (int(axis[0]) for axis in np.nonzero(endless))
        found = f"{float(X.to_numpy(np.float64)[row, column])} in {X.columns[column]} at {X.index[row]} ({int(endless.sum())} such values)"
        raise ModelDataError("finite features, or NaN while they warm up", found, "Correct the feature.")
    empty = [str(name) for name in X.columns[X.isna().all()]]
    if empty and not config.drop_empty_features:
        fix = "Load more history, leave them out of the pipeline, or set drop_empty_features."
        raise ModelDataError("values of every feature", f"only NaN in {', '.join(empty)}", fix)
    return X.drop(columns=empty)


def _facts(rows: Rows, feature_state: FeatureState, config: TrainConfig, provenance: Provenance) -> dict[str, Any]:
    times = rows.X.index.get_level_values("timestamp")
    return {
        **asdict(provenance),
        "feature_names": list(rows.X.columns),
        "dropped_features": sorted(set(map(str, feature_state.feature_names)) - set(rows.X.columns)),
        "feature_hash": feature_state.content_hash,
        "symbols": sorted(str(symbol) for symbol in rows.X.index.get_level_values("symbol").unique()),
        "train_start": times.min().isoformat(),
        "train_end": times.max().isoformat(),
        "known_through": rows.t1.max().isoformat(),
        "rows": len(rows.y),
        "regime_model": _regime_features(feature_state),
        "config": config.facts(),
        "versions": {name: version(name) for name in ("alphatrade", "catboost", "numpy", "pandas")} | {"python": platform.python_version()},
    }


def _regime_features(feature_state: FeatureState) -> str:
    """Where in the bundle the regime model is."""
    state = json.loads(feature_state.to_json())
    items = state.get("config", state).get("features", [])
    names = [item["name"] for item in items if isinstance(item, dict) and item.get("kind") == "regime"]
    return f"feature_state.json: {', '.join(names)}" if names else "none: no regime among the features"
