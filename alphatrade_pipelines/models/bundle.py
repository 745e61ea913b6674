"""One model, one folder: everything a decision needs, sealed by hashes. JSON and ``.cbm`` only, never a pickle.

    manifest.json              hashes of every other file, data and code versions, configuration; ``content_hash`` seals the manifest itself
    feature_state.json         frozen feature pipeline          model.cbm                  trees
    calibrator.json            beta calibration                 venn_abers.json            lower and upper bounds
    drift_reference.json       features as trained on           baseline_correlation.json  correlation as trained on
    sizing.json                payoff and barriers

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

from alphatrade_pipelines.models.calibration import BetaCalibrator
from alphatrade_pipelines.models.errors import ModelDataError, TamperedBundleError
from alphatrade_pipelines.models.learner import model_from_bytes, scores
from alphatrade_pipelines.models.payoff import PayoffEstimate
from alphatrade_pipelines.models.venn_abers import VennAbers

if TYPE_CHECKING:
    from alphatrade_pipelines.features import FittedPipeline

FORMAT = 1
MANIFEST = "manifest.json"
FILES = (
    "feature_state.json",
    "model.cbm",
    "calibrator.json",
    "venn_abers.json",
    "drift_reference.json",
    "baseline_correlation.json",
    "sizing.json",
)


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
        """Make a bundle of the files of :data:`FILES` and the facts for its manifest (must hold ``feature_names`` and ``timeframe``)."""
        if set(files) != set(FILES):
            raise ModelDataError(f"exactly the files {sorted(FILES)}", f"{sorted(files)}")
        body = {**facts, "format": FORMAT, "files": {name: _sha256(files[name]) for name in FILES}}
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

        Raises FileNotFoundError when there is no such folder, TamperedBundleError naming the first file that is missing, changed or extra.
        """
        root = Path(folder)
        if not root.is_dir():
            raise FileNotFoundError(f"expected a model bundle folder at {root}, found none")
        manifest = _read_manifest(root / MANIFEST)
        files = {}
        for name in FILES:
            if not (root / name).is_file():
                raise TamperedBundleError(name, f"is missing from {root}")
            files[name] = (root / name).read_bytes()
            if _sha256(files[name]) != manifest["files"].get(name):
                raise TamperedBundleError(name, "is not the file the manifest was sealed with")
        extra = sorted({path.name for path in root.iterdir()} - {*FILES, MANIFEST})
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

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        """Calibrated ``probability`` of a winning bracket with ``lower`` and ``upper`` bound, on the index of ``features``.

        Rounded to 9 digits, so that one row and a batch give the same bits. Raises ModelDataError for a missing column or a value that is
        NaN or infinite: leave out rows that are still warming up.
        """
        missing = [name for name in self.feature_names if name not in features]
        if missing:
            raise ModelDataError(f"the features {self.feature_names}", f"no {', '.join(missing)}", "Transform with the bundle's pipeline.")
        X = features[self.feature_names].to_numpy(dtype=np.float64)
        bad = ~np.isfinite(X)
        if bad.any():
            row, column = (int(axis[0]) for axis in np.nonzero(bad))
            found = f"{X[row, column]} in {self.feature_names[column]} at {features.index[row]}"
            raise ModelDataError("finite features", found, "Leave out rows that are still warming up.")
        trees, calibrator, bounds = self._model
        score = scores(trees, X) if len(X) else np.empty(0)
        return interval(calibrator, bounds, score, features.index)

    @cached_property
    def _model(self) -> tuple[Any, BetaCalibrator, VennAbers]:
        calibrator, bounds = BetaCalibrator(**self.json("calibrator.json")), VennAbers.from_dict(self.json("venn_abers.json"))
        return model_from_bytes(self.files["model.cbm"]), calibrator, bounds


def interval(calibrator: BetaCalibrator, bounds: VennAbers, score: np.typing.NDArray[np.float64], index: pd.Index) -> pd.DataFrame:
    """probability, lower, upper of scores: the Venn-Abers interval, widened to hold the calibrated probability."""
    probability = calibrator.predict(score)
    p0, p1 = bounds.predict(score)
    columns = {"probability": probability, "lower": np.minimum(p0, probability), "upper": np.maximum(p1, probability)}
    return pd.DataFrame({name: np.round(values, 9) for name, values in columns.items()}, index=index)


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
        raise TamperedBundleError(MANIFEST, f"has format {manifest.get('format')!r} where this version reads {FORMAT}")
    return dict(manifest)
