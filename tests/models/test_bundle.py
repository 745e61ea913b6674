"""A bundle is what it says it is, or it is refused by name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.models import Bundle, BundleFormatError, ModelDataError, TamperedBundleError, TrainingResult
from alphatrade_pipelines.models.bundle import FILES, MANIFEST, canonical_json

Trained = tuple[TrainingResult, pd.DataFrame, pd.Series]


def test_round_trip_and_no_pickle(trained: Trained, tmp_path: Path) -> None:
    result, features, _ = trained
    folder = result.bundle.save(tmp_path / "bundle")
    assert {path.name for path in folder.iterdir()} == {*FILES, MANIFEST}
    for name in (*FILES, MANIFEST):
        if name.endswith(".json"):
            json.loads((folder / name).read_text())
        else:
            assert (folder / name).read_bytes()[:4] == b"CBM1"
    loaded = Bundle.load(folder)
    assert loaded.content_hash == result.bundle.content_hash
    pd.testing.assert_frame_equal(loaded.predict(features), result.bundle.predict(features))
    assert loaded.payoff == result.bundle.payoff


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_is_refused_by_name(trained: Trained, tmp_path: Path, name: str) -> None:
    folder = trained[0].bundle.save(tmp_path / "bundle")
    blob = bytearray((folder / name).read_bytes())
    blob[len(blob) // 2] ^= 1
    (folder / name).write_bytes(bytes(blob))
    with pytest.raises(TamperedBundleError, match=name) as caught:
        Bundle.load(folder)
    assert caught.value.file == name


def test_a_flipped_bit_anywhere_in_the_manifest_is_refused(trained: Trained, tmp_path: Path) -> None:
    folder = trained[0].bundle.save(tmp_path / "bundle")
    sealed = (folder / MANIFEST).read_bytes()
    for at in range(len(sealed)):
        blob = bytearray(sealed)
        blob[at] ^= 1 << (at % 8)
        (folder / MANIFEST).write_bytes(bytes(blob))
        with pytest.raises(TamperedBundleError, match=MANIFEST):
            Bundle.load(folder)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_file_is_refused_by_name(trained: Trained, tmp_path: Path, name: str) -> None:
    folder = trained[0].bundle.save(tmp_path / "bundle")
    (folder / name).unlink()
    with pytest.raises(TamperedBundleError) as caught:
        Bundle.load(folder)
    assert caught.value.file == name


def test_a_changed_manifest_and_a_stranger_are_refused(trained: Trained, tmp_path: Path) -> None:
    folder = trained[0].bundle.save(tmp_path / "bundle")
    (folder / "notes.txt").write_text("hello")
    with pytest.raises(TamperedBundleError, match=r"notes\.txt"):
        Bundle.load(folder)
    (folder / "notes.txt").unlink()
    manifest = json.loads((folder / MANIFEST).read_text())
    for broken in (json.dumps({**manifest, "data_hash": "other"}), "{", "[]", json.dumps({**manifest, "files": 1})):
        (folder / MANIFEST).write_text(broken)
        with pytest.raises(TamperedBundleError, match=MANIFEST):
            Bundle.load(folder)


@pytest.mark.parametrize(("sealed", "fix"), [(1, "Train again"), (99, "Use the version that sealed it"), (None, "Train again")])
def test_another_format_is_refused_and_says_what_to_do(trained: Trained, tmp_path: Path, sealed: object, fix: str) -> None:
    """Intact, but of another time: the hash must be right, or it would be called tampered with."""
    folder = trained[0].bundle.save(tmp_path / "bundle")
    manifest = json.loads((folder / MANIFEST).read_text())
    body = {name: value for name, value in manifest.items() if name != "content_hash"} | {"format": sealed}
    resealed = {**body, "content_hash": hashlib.sha256(canonical_json(body)).hexdigest()}
    (folder / MANIFEST).write_bytes(canonical_json(resealed))
    with pytest.raises(BundleFormatError, match=fix):
        Bundle.load(folder)


def test_saving_is_all_or_nothing_and_never_overwrites(trained: Trained, tmp_path: Path) -> None:
    bundle = trained[0].bundle
    bundle.save(tmp_path / "bundle")
    bundle.save(tmp_path / "bundle")  # the same again is fine
    other = Bundle.seal(
        bundle.files, {**{k: v for k, v in bundle.manifest.items() if k not in {"files", "content_hash"}}, "git_commit": "x"}
    )
    with pytest.raises(FileExistsError, match="another bundle"):
        other.save(tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    with pytest.raises(FileNotFoundError, match="model bundle folder"):
        Bundle.load(tmp_path / "nowhere")
    with pytest.raises(ModelDataError, match="exactly the files"):
        Bundle.seal({"model.cbm": b""}, {})


def test_one_row_equals_the_batch_to_the_bit(trained: Trained) -> None:
    result, features, _ = trained
    batch = result.bundle.predict(features.iloc[:50])
    single = pd.concat([result.bundle.predict(features.iloc[[i]]) for i in range(50)])
    np.testing.assert_array_equal(batch.to_numpy(), single.to_numpy())
    assert result.bundle.predict(features.iloc[:0]).empty


def test_prediction_refuses_gaps_and_missing_columns(trained: Trained) -> None:
    result, features, _ = trained
    with pytest.raises(ModelDataError, match="no f1"):
        result.bundle.predict(features.drop(columns="f1"))
    with pytest.raises(ModelDataError, match="nan in f2"):
        result.bundle.predict(features.assign(f2=np.nan))
    shuffled = features[["f2", "f0", "f1"]]
    pd.testing.assert_frame_equal(result.bundle.predict(shuffled), result.bundle.predict(features))
