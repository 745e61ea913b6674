"""Models one may size from: labels, purged validation, calibration, bundles, the registry and its gate, drift and staleness.

MLflow, CatBoost and matplotlib are imported by the functions that need them, not by this package.
"""

from alphatrade_pipelines.models.bundle import Bundle
from alphatrade_pipelines.models.calibration import Calibrator
from alphatrade_pipelines.models.drift import DriftReport, feature_drift
from alphatrade_pipelines.models.errors import (
    BundleFormatError,
    GateFailedError,
    ModelDataError,
    ModelError,
    NoPromotedModelError,
    ProfileTooWeakError,
    RegistryError,
    TamperedBundleError,
)
from alphatrade_pipelines.models.evaluation import compare_predictions
from alphatrade_pipelines.models.fold_features import refit_in_folds
from alphatrade_pipelines.models.folds import FoldConfig, path_predictions
from alphatrade_pipelines.models.gate import GateReport, GateThresholds, evaluate_gate
from alphatrade_pipelines.models.labels import BarrierConfig, LabelConfig, make_labels, trend_scanning, triple_barrier
from alphatrade_pipelines.models.learner import LearnerConfig
from alphatrade_pipelines.models.payoff import PayoffEstimate
from alphatrade_pipelines.models.plots import png, reliability_figure
from alphatrade_pipelines.models.primary import PrimaryModel
from alphatrade_pipelines.models.primary_fit import PrimaryConfig, fit_primary
from alphatrade_pipelines.models.promoted import load_promoted
from alphatrade_pipelines.models.registry import Lineage, ModelRegistry, RegistryConfig, VersionInfo
from alphatrade_pipelines.models.signals import make_signals
from alphatrade_pipelines.models.staleness import AgeReport, ScoreReport, age_staleness, score_staleness
from alphatrade_pipelines.models.training import Provenance, TrainConfig, TrainingResult, train
from alphatrade_pipelines.models.trials import TrialLedger, TrialSummary
from alphatrade_pipelines.models.validation import CombinatorialPurgedCV, PurgedKFold, WalkForward
from alphatrade_pipelines.models.venn_abers import VennAbers
from alphatrade_pipelines.models.weights import average_uniqueness

__all__ = [
    "AgeReport",
    "BarrierConfig",
    "Bundle",
    "BundleFormatError",
    "Calibrator",
    "CombinatorialPurgedCV",
    "DriftReport",
    "FoldConfig",
    "GateFailedError",
    "GateReport",
    "GateThresholds",
    "LabelConfig",
    "LearnerConfig",
    "Lineage",
    "ModelDataError",
    "ModelError",
    "ModelRegistry",
    "NoPromotedModelError",
    "PayoffEstimate",
    "PrimaryConfig",
    "PrimaryModel",
    "ProfileTooWeakError",
    "Provenance",
    "PurgedKFold",
    "RegistryConfig",
    "RegistryError",
    "ScoreReport",
    "TamperedBundleError",
    "TrainConfig",
    "TrainingResult",
    "TrialLedger",
    "TrialSummary",
    "VennAbers",
    "VersionInfo",
    "WalkForward",
    "age_staleness",
    "average_uniqueness",
    "compare_predictions",
    "evaluate_gate",
    "feature_drift",
    "fit_primary",
    "load_promoted",
    "make_labels",
    "make_signals",
    "path_predictions",
    "png",
    "refit_in_folds",
    "reliability_figure",
    "score_staleness",
    "train",
    "trend_scanning",
    "triple_barrier",
]
