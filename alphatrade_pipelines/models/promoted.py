"""What live trading does once at its start: fetch the champion, verify it, and say where it came from."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from alphatrade_pipelines.models._mlflow import client, registry_errors, store
from alphatrade_pipelines.models.bundle import MANIFEST, Bundle
from alphatrade_pipelines.models.errors import NoPromotedModelError, ProfileTooWeakError, TamperedBundleError
from alphatrade_pipelines.models.gate import PROFILES, Profile
from alphatrade_pipelines.models.registry import CHAMPION, VersionInfo, find_alias, find_model
from alphatrade_pipelines.models.succession import read_trail
from alphatrade_pipelines.trading.domain import ModelRef


def load_promoted(tracking_uri: str, name: str, required_profile: Profile, cache_dir: Path) -> tuple[Bundle, ModelRef]:
    """The champion's bundle, verified against the hash it was registered with, and its lineage.

    Bundles are kept in ``cache_dir`` under their hash and verified at every load. Raises NoPromotedModelError without a champion,
    ProfileTooWeakError when it passed a weaker gate than required, TamperedBundleError naming the file when a byte is not the registered
    one, RegistryError when MLflow cannot be reached.
    """
    version, promotion = _champion(tracking_uri, name)
    rank = -1 if not version.profile else PROFILES.index(version.profile)
    if rank < PROFILES.index(required_profile):
        raise ProfileTooWeakError(
            f"expected a champion of {name!r} that passed the {required_profile} gate, found version {version.version} with "
            f"{version.profile or 'no gate at all'}; promote a version that passed it, or use a mode that asks for less"
        )
    registered = version.tags.get("bundle_hash", "")
    if not re.fullmatch(r"[0-9a-f]{64}", registered):
        raise TamperedBundleError(MANIFEST, f"has no registered hash (tag bundle_hash of version {version.version})")
    bundle = Bundle.load(_cached(tracking_uri, version, registered, Path(cache_dir)))
    if bundle.content_hash != registered:
        raise TamperedBundleError(MANIFEST, f"is not the one registered as version {version.version}")
    return bundle, _reference(version, registered, promotion)


def _champion(tracking_uri: str, name: str) -> tuple[VersionInfo, str]:
    """The champion and how it became that."""
    nothing = f"expected a model {name!r} with the alias 'champion' in MLflow, found none; train and promote one first"
    if tracking_uri.startswith("sqlite:///") and not Path(tracking_uri.removeprefix("sqlite:///")).exists():
        raise NoPromotedModelError(nothing)  # asking MLflow would create an empty store
    connection = client(tracking_uri)
    with registry_errors(f"looking for the champion of {name}"):
        version = find_alias(connection, name, CHAMPION)
        trail = read_trail(find_model(connection, name).tags) if version is not None else []
    if version is None:
        raise NoPromotedModelError(nothing)
    known = trail[-1] if trail and trail[-1].version == version.version else None
    return version, str(known) if known else f"version {version.version} moved outside the gate, noticed by nobody yet"


def _cached(tracking_uri: str, version: VersionInfo, bundle_hash: str, cache: Path) -> Path:
    target = cache / bundle_hash[:16]
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    doing = f"downloading version {version.version}"
    with registry_errors(doing), tempfile.TemporaryDirectory(dir=cache) as folder, store(tracking_uri) as mlflow:
        fetched = mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{version.name}/{version.version}", dst_path=folder)
        found = Path(fetched) / "artifacts" / "bundle"
        Bundle.load(found)  # never put into the cache what does not verify
        if not target.exists():
            shutil.move(found, target)
    return target


def _reference(version: VersionInfo, bundle_hash: str, promotion: str) -> ModelRef:
    return ModelRef(
        name=version.name,
        version=version.version,
        bundle_hash=bundle_hash,
        mlflow_run_id=version.run_id,
        dagster_run_id=version.tags.get("dagster.run_id", ""),
        data_hash=version.tags.get("data_hash", ""),
        git_commit=version.tags.get("git_commit", ""),
        profile=version.profile,
        promotion=promotion,
    )
