"""Which model is the champion, whether a mode may trade it, and what `alphatrade models` shows of all versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.research import tracking
from alphatrade_pipelines.settings import Mode, Settings

if TYPE_CHECKING:
    from alphatrade_pipelines.models.bundle import Bundle
    from alphatrade_pipelines.models.gate import Profile
    from alphatrade_pipelines.models.registry import VersionInfo
    from alphatrade_pipelines.trading.domain import ModelRef

REQUIRED_PROFILE: dict[str, Profile] = {"sim": "paper", "paper": "paper", "live": "live"}


def champion_to_trade(settings: Settings, mode: Mode, who: str) -> tuple[Bundle, ModelRef]:
    """The champion, if it passed the gate this mode asks for; a move of the alias outside the gate is noted in the trail by ``who``.

    Raises as :func:`~alphatrade_pipelines.models.promoted.load_promoted`.
    """
    from alphatrade_pipelines.models.errors import RegistryError
    from alphatrade_pipelines.models.promoted import load_promoted

    if _has_store(settings):
        try:
            moved = tracking.registry(settings).note_outside_move(who)
        except RegistryError as error:  # a store that can be read but not written must not stop a session
            structlog.get_logger(__name__).error("a move of the champion may go unrecorded", error=str(error))
        else:
            if moved is not None:
                structlog.get_logger(__name__).error("ALERT the champion was moved outside the gate", move=str(moved))
    return load_promoted(settings.tracking_uri, settings.model.name, REQUIRED_PROFILE[mode], settings.folders.bundles)


def _has_store(settings: Settings) -> bool:
    """False when asking MLflow would create an empty SQLite store."""
    uri = settings.tracking_uri
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def version_exists(settings: Settings, version: str) -> bool:
    """Is a version of the model registered? Raises ``RegistryError`` when MLflow cannot be reached."""
    if not _has_store(settings):
        return False
    return any(info.version == version for info in tracking.registry(settings).versions())


def model_list(settings: Settings) -> list[Any]:
    """What ``alphatrade models`` prints: versions, and the trail of champions."""
    from alphatrade_pipelines.models import render

    if not _has_store(settings):
        return ["no model yet: run the job retrain"]
    models = tracking.registry(settings)
    versions = models.versions()
    if not versions:
        return ["no model yet: run the job retrain"]
    return [render.version_table(versions), *render.trail_lines(models.trail(), models.outside_move("this command"))]


def model_details(settings: Settings, version: str) -> list[Any]:
    """What ``alphatrade models show`` prints: lineage, every criterion, figures. Raises ``RegistryError`` without it."""
    from alphatrade_pipelines.models import render

    if not _has_store(settings):
        raise bootstrap.SetupError("no model yet: run the job retrain")
    models = tracking.registry(settings)
    info = models.version(version)
    return render.details(info, models.metrics(info), bootstrap.mlflow_pages(settings))


def champion_bundle(settings: Settings) -> tuple[VersionInfo, Bundle] | None:
    """The champion's version and its verified bundle; None when there is no champion."""
    from alphatrade_pipelines.models.errors import NoPromotedModelError
    from alphatrade_pipelines.models.promoted import load_promoted

    try:
        bundle, _ = load_promoted(settings.tracking_uri, settings.model.name, "paper", settings.folders.bundles)
    except NoPromotedModelError:
        return None
    version = tracking.registry(settings).champion()
    return None if version is None else (version, bundle)


def champion_version(settings: Settings) -> VersionInfo | None:
    """The champion as the registry names it, without reading its bundle; None before the first one."""
    return tracking.registry(settings).champion() if _has_store(settings) else None
