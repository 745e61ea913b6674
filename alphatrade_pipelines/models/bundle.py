"""One model, one folder: everything a decision needs, sealed by hashes. JSON and ``.cbm`` only, never a pickle.

    manifest.json              hashes of every other file, data and code versions, configuration; ``content_hash`` seals the manifest itself
    feature_state.json         frozen feature pipeline          model.cbm                  trees
    calibrator.json            score to probability             venn_abers.json            lower and upper bounds
    baseline.json              logistic regression              sizing.json                payoff and barriers
    drift_reference.json       features as trained on           baseline_correlation.json  correlation as trained on
    primary.json               the primary model's schedule of trees, only where bets are made on its side

The regime model has no file of its own: it is a feature, and part of the frozen feature state; the manifest says under which name.

The content hash is a function of what was learned from which data by which code: no clock goes into it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from alphatrade_pipelines.models.baseline import LogisticBaseline
from alphatrade_pipelines.models.calibration import Calibrator
from alphatrade_pipelines.models.errors import BundleFormatError, ModelDataError, TamperedBundleError
from alphatrade_pipelines.models.labels import LabelConfig
from alphatrade_pipelines.models.payoff import PayoffEstimate
from alphatrade_pipelines.models.predictor import Prediction, Predictor
from alphatrade_pipelines.models.primary import PrimaryModel
from alphatrade_pipelines.models.trees import Trees
from alphatrade_pipelines.models.venn_abers import bounds_from_dict

if TYPE_CHECKING:
    from alphatrade_pipelines.features import FittedPipeline

FORMAT = 2
MANIFEST = "manifest.json"
FILES = (
    "feature_state.json",
    "model.cbm",
    "calibrator.json",
    "venn_abers.json",
    "baseline.json",
    "drift_reference.json",
    "baseline_correlation.json",
    "sizing.json",
)
PRIMARY = "primary.json"


def canonical_json(data: Any) -> bytes:
    """Equal data, equal bytes; NaN is refused, because JSON has none."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _sha256(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


@dataclass(frozen=True)
class Bundle:
    """A sealed model. ``files``: bytes of every file but the manifest; ``manifest``: their hashes and where they came from."""

    manifest: Mapping[str, Any]
    files: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def seal(cls, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> Bundle:
        """Make a bundle of the files of :data:`FILES` and the facts for its manifest (must hold ``feature_names`` and ``timeframe``).

        :data:`PRIMARY` may be among the files.
        """
        if set(files) - {PRIMARY} != set(FILES):
            raise ModelDataError(f"exactly the files {sorted(FILES)}, and {PRIMARY} if there is one", f"{sorted(files)}")
        body = {**facts, "format": FORMAT, "files": {name: _sha256(blob) for name, blob in files.items()}}
        body = json.loads(canonical_json(body))
        return cls({**body, "content_hash": _sha256(canonical_json(body))}, dict(files))

    @property
    def content_hash(self) -> str:
        """SHA-256 of the manifest, and through it of every file."""
        return str(self.manifest["content_hash"])

    @property
    def feature_names(self) -> list[str]:
        """Columns the model reads, in its order."""
        return list(self.manifest["feature_names"])

    def save(self, folder: Path | str) -> Path:
        """Write the folder in one step: it appears complete or not at all. The same bundle already there is left alone.

        Raises FileExistsError when something else is there.
        """
        target = Path(folder)
        if target.exists():
            if Bundle.load(target).content_hash == self.content_hash:
                return target
            raise FileExistsError(f"expected no folder or the same bundle at {target}, found another bundle; name the folder by its hash")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            for name, blob in {**self.files, MANIFEST: canonical_json(dict(self.manifest))}.items():
                (temporary / name).write_bytes(blob)
            temporary.chmod(0o755)
            os.replace(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return target

    @classmethod
    def load(cls, folder: Path | str) -> Bundle:
        """Read a bundle and verify every byte of it.

        Raises FileNotFoundError when there is no such folder, TamperedBundleError naming the first file that is missing, changed or extra,
        BundleFormatError when it was sealed by another version of the house.
        """
        root = Path(folder)
        if not root.is_dir():
            raise FileNotFoundError(f"expected a model bundle folder at {root}, found none")
        manifest = _read_manifest(root / MANIFEST)
        files = {}
        names = (*FILES, PRIMARY) if PRIMARY in manifest["files"] else FILES
        for name in names:
            if not (root / name).is_file():
                raise TamperedBundleError(name, f"is missing from {root}")
            files[name] = (root / name).read_bytes()
            if _sha256(files[name]) != manifest["files"].get(name):
                raise TamperedBundleError(name, "is not the file the manifest was sealed with")
        extra = sorted({path.name for path in root.iterdir()} - {*names, MANIFEST})
        if extra:
            raise TamperedBundleError(extra[0], f"does not belong into the bundle at {root}")
        return cls(manifest, files)

    def json(self, name: str) -> Any:
        """The content of one of the JSON files."""
        return json.loads(self.files[name])

    def feature_pipeline(self) -> FittedPipeline:
        """The frozen feature pipeline the model was trained with."""
        from alphatrade_pipelines.features import FittedPipeline

        return FittedPipeline.from_json(self.files["feature_state.json"].decode())

    @cached_property
    def payoff(self) -> PayoffEstimate:
        """Payoff and barriers of the brackets this model predicts."""
        return PayoffEstimate.from_dict(self.json("sizing.json"))

    @cached_property
    def baseline(self) -> LogisticBaseline:
        """The logistic regression fitted beside the trees."""
        return LogisticBaseline.from_dict(self.json("baseline.json"))

    @cached_property
    def label(self) -> LabelConfig:
        """What the model learned to predict, and on which side it bets."""
        return LabelConfig.from_dict(self.manifest.get("config", {}).get("label"))

    @cached_property
    def primary(self) -> PrimaryModel | None:
        """The model that chooses the side, if it is a model."""
        return PrimaryModel.from_dict(self.json(PRIMARY)) if PRIMARY in self.files else None

    def scored(self, features: pd.DataFrame) -> pd.DataFrame:
        """``features`` with the column ``primary_score`` where the bundle has a primary model; as they are where it has none.

        A row is scored by the model in force at its time stamp, without one in the index by the newest; whatever stood in that column is
        replaced. Raises ModelDataError for a missing column.
        """
        return features if self.primary is None else self.primary.scored(features)

    @cached_property
    def predictor(self) -> Predictor:
        """Trees, calibrator and bounds, ready to run. Reading the trees imports CatBoost; predicting does not need it any more."""
        calibrator, bounds = Calibrator.from_dict(self.json("calibrator.json")), bounds_from_dict(self.json("venn_abers.json"))
        return Predictor(Trees.from_cbm(self.files["model.cbm"]), calibrator, bounds)

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        """Calibrated ``probability`` of a winning bracket with ``lower`` and ``upper`` bound, and whether the score lies beyond all that
        calibration saw (``extrapolated``), on the index of ``features``. A primary model's score is worked out first (:meth:`scored`).

        Raises ModelDataError for a missing column or a value that is NaN or infinite: leave out rows that are still warming up.
        """
        features = self.scored(features)
        missing = [name for name in self.feature_names if name not in features]
        if missing:
            raise ModelDataError(f"the features {self.feature_names}", f"no {', '.join(missing)}", "Transform with the bundle's pipeline.")
        X = features[self.feature_names].to_numpy(dtype=np.float64)
        bad = ~np.isfinite(X)
        if bad.any():
            row, column = (int(axis[0]) for axis in np.nonzero(bad))
            raise _not_finite(X[row, column], f"{self.feature_names[column]} at {features.index[row]}")
        return self.predictor.many(X, features.index)

    def predict_row(self, row: np.typing.NDArray[np.float64]) -> Prediction:
        """One row in the order of ``feature_names``, without a data frame: the same bits as :meth:`predict`, in microseconds.

        Raises ModelDataError for another number of values, or a value that is NaN or infinite.
        """
        x = np.ascontiguousarray(row, dtype=np.float64)
        if x.shape != (len(self.feature_names),):
            raise ModelDataError(f"{len(self.feature_names)} features in one row", f"an array of shape {x.shape}")
        if not np.isfinite(x).all():
            column = int(np.argmin(np.isfinite(x)))
            raise _not_finite(x[column], self.feature_names[column])
        return self.predictor.one(x)


def _not_finite(value: float, where: str) -> ModelDataError:
    return ModelDataError("finite features", f"{value} in {where}", "Leave out rows that are still warming up.")


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise TamperedBundleError(MANIFEST, f"is missing from {path.parent}")
    try:
        manifest = json.loads(path.read_bytes())
        body = {name: value for name, value in manifest.items() if name != "content_hash"}
        sealed = manifest["content_hash"] == _sha256(canonical_json(body)) and isinstance(manifest["files"], dict)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise TamperedBundleError(MANIFEST, f"cannot be read ({error})") from error
    if not sealed:
        raise TamperedBundleError(MANIFEST, "does not match its own content hash")
    if manifest.get("format") != FORMAT:
        raise BundleFormatError(manifest.get("format"), FORMAT)
    return dict(manifest)
