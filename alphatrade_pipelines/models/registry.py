"""Candidates, champions and the way back, in MLflow.

Alias ``challenger``: the latest candidate. Alias ``champion``: what live trading follows; only :meth:`ModelRegistry.promote` and
:meth:`ModelRegistry.rollback` move it (or a person, in MLflow's own pages). A version carries as tags where it came from, the profile it
passed and the decision; the registered model carries the trail of champions (:mod:`~alphatrade_pipelines.models.succession`).
"""

from __future__ import annotations

import getpass
import math
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from alphatrade_pipelines.models._mlflow import client, registry_errors, store
from alphatrade_pipelines.models.candidate import log_run
from alphatrade_pipelines.models.errors import GateFailedError, NoPromotedModelError, RegistryError
from alphatrade_pipelines.models.gate import PROFILES, GateReport
from alphatrade_pipelines.models.succession import Crowning, line_of_champions, read_trail

if TYPE_CHECKING:
    from alphatrade_pipelines.models.training import TrainingResult

CHAMPION, CHALLENGER = "champion", "challenger"
PROFILE_TAG, REPORT_TAG, DECISION_TAG = "gate.profile", "gate.report", "gate.decision"


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """``artifact_root``: folder or URI where runs keep their files, stated because MLflow would otherwise write ``./mlruns``; None only
    for a tracking server (http), which decides itself."""

    tracking_uri: str
    artifact_root: str | None
    experiment: str = "alphatrade"
    model_name: str = "alphatrade"


@dataclass(frozen=True, slots=True)
class Lineage:
    """The Dagster run and asset behind a candidate, and the run's page if there is one; data hash and git commit are in the bundle."""

    dagster_run_id: str
    dagster_asset_key: str = "model_candidate"
    dagster_url: str = ""

    @property
    def tags(self) -> dict[str, str]:
        """As MLflow carries it; the note is what MLflow's page shows, with a link to click."""
        found = {"dagster.run_id": self.dagster_run_id, "dagster.asset_key": self.dagster_asset_key}
        if self.dagster_url:
            note = f"Trained by Dagster run [{self.dagster_run_id}]({self.dagster_url}), asset `{self.dagster_asset_key}`."
            found |= {"dagster.url": self.dagster_url, "mlflow.note.content": note}
        return found


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One registered version as people ask for it. ``profile`` is the strongest gate profile it passed, or empty."""

    name: str
    version: str
    run_id: str
    source: str
    aliases: tuple[str, ...]
    profile: str
    report: GateReport | None
    created: datetime
    tags: Mapping[str, str]


class ModelRegistry:
    """The registry of one model name in one MLflow store. Methods raise RegistryError when MLflow cannot be reached."""

    def __init__(self, config: RegistryConfig) -> None:
        if config.artifact_root is None and not config.tracking_uri.startswith(("http://", "https://")):
            raise RegistryError(f"expected an artifact folder for the store {config.tracking_uri}, found none; set artifact_root")
        self.config = config
        self._client = client(config.tracking_uri)

    def log_candidate(
        self,
        result: TrainingResult,
        features: pd.DataFrame,
        lineage: Lineage,
        extra_metrics: Mapping[str, float] | None = None,
        trial: str | None = None,
    ) -> VersionInfo:
        """Log a run (params, metrics, reliability plot, dataset, out-of-fold predictions, bundle as a model), register it, and point
        ``challenger`` at it. ``features``: the training features, of which rows and hash are recorded. ``trial``: the run that was opened
        before the training (:meth:`~alphatrade_pipelines.models.trials.TrialLedger.trial`), to be completed.

        The version appears when everything else is stored: a crash on the way leaves registry and aliases as they were.
        """
        with registry_errors("logging a candidate"):
            run_id, model_uri = log_run(self.config, self.experiment_id(), result, features, lineage, extra_metrics or {}, trial)
            name = self.config.model_name
            if not self._client.search_registered_models(f"name = '{name}'"):
                self._client.create_registered_model(
                    name, description="Calibrated triple-barrier classifier; see the version's gate report."
                )
            tags = {key: str(value) for key, value in self._client.get_run(run_id).data.tags.items() if not key.startswith("mlflow.")}
            # MLflow resolves models:/ addresses through the process-wide store, whatever store the client has
            with store(self.config.tracking_uri):
                version = self._client.create_model_version(
                    name, source=model_uri, run_id=run_id, tags=tags, model_id=model_uri.split("/")[-1]
                )
            self._client.set_registered_model_alias(name, CHALLENGER, str(version.version))
        return self.version(str(version.version))

    def record_report(self, version: str, report: GateReport) -> None:
        """Store a gate decision on the version, passed or not. The champion is left alone."""
        name = self.config.model_name
        with registry_errors(f"recording the gate report of version {version}"):
            self._client.set_model_version_tag(name, version, f"{REPORT_TAG}.{report.profile}", report.to_json())
            if report.passed:
                held = self._client.get_model_version(name, version).tags.get(PROFILE_TAG, "")
                strongest = max(report.profile, held, key=lambda profile: -1 if not profile else PROFILES.index(profile))
                self._client.set_model_version_tag(name, version, PROFILE_TAG, strongest)

    def promote(self, version: str, report: GateReport, by: str = "", reason: str = "") -> None:
        """Record the decision and make the version champion. Raises GateFailedError (champion untouched) when the report refuses it.

        ``by`` and ``reason`` go into the trail; the reason defaults to the profile passed.
        """
        self.record_report(version, report)
        if not report.passed:
            raise GateFailedError(f"version {version} did not pass the {report.profile} gate: {'; '.join(report.failures)}")
        with registry_errors(f"promoting version {version}"):
            self.note_outside_move(by or _somebody())
            held = self.champion_version()
            if held == version:
                return  # judged again: nothing moves, and the trail holds moves only
            self._crown(Crowning(version, _now(), "gate", by or _somebody(), reason or f"passed the {report.profile} gate"))

    def rollback(self, reason: str, by: str = "") -> VersionInfo:
        """Make the champion before the present one champion again. Raises NoPromotedModelError when there is none to go back to."""
        name, by = self.config.model_name, by or _somebody()
        with registry_errors("rolling back the champion"):
            self.note_outside_move(by)
            present = self.champion_version()  # by the alias alone: the version itself may have been deleted
            line = line_of_champions(self.trail())
            if present in line:
                line = line[: line.index(present)]
            infos = {info.version: info for info in self.versions()}
            line = [version for version in line if version != present and version in infos and infos[version].profile]
            if not line:
                raise NoPromotedModelError(f"expected an earlier champion of {name!r} to go back to, found none")
            if present in infos:
                stamp = _now().isoformat(timespec="seconds")
                self._client.set_model_version_tag(name, present, "rolled_back", f"{stamp}: {reason}")
            self._crown(Crowning(line[-1], _now(), "rollback", by, reason))
        return self.version(line[-1])

    def trail(self) -> list[Crowning]:
        """Every change of champion that is known, oldest first."""
        model = self._registered()
        return read_trail(model.tags) if model is not None else []

    def outside_move(self, noticed_by: str) -> Crowning | None:
        """The present champion, when somebody made it so outside the gate and the trail does not know yet; else None. Writes nothing."""
        model = self._registered()
        if model is None or CHAMPION not in model.aliases:
            return None
        version, trail = str(model.aliases[CHAMPION]), read_trail(model.tags)
        if trail and trail[-1].version == version:
            return None
        before = f"it was version {trail[-1].version}" if trail else "there was none before"
        unfinished = (
            f", or the promotion of version {trail[-1].version} was cut short" if version in {c.version for c in trail[-2:-1]} else ""
        )
        reason = f"the alias was moved by hand ({before}){unfinished}; MLflow does not say by whom or when"
        return Crowning(version, _now(), "outside", f"noticed by {noticed_by}", reason)

    def note_outside_move(self, noticed_by: str) -> Crowning | None:
        """Add such a move to the trail; returns it, or None when there is none to add."""
        found = self.outside_move(noticed_by)
        if found is not None:
            with registry_errors("noting a champion that was moved outside the gate"):
                self._client.set_registered_model_tag(self.config.model_name, found.key, found.to_json())
        return found

    def champion_version(self) -> str:
        """The version the alias ``champion`` names, whether or not it still exists; empty without one."""
        model = self._registered()
        return str(model.aliases[CHAMPION]) if model is not None and CHAMPION in model.aliases else ""

    def champion(self) -> VersionInfo | None:
        """The version live trading follows, or None."""
        return self._by_alias(CHAMPION)

    def challenger(self) -> VersionInfo | None:
        """The latest candidate, or None."""
        return self._by_alias(CHALLENGER)

    def version(self, version: str) -> VersionInfo:
        """One version. Raises RegistryError when it does not exist."""
        with registry_errors(f"reading version {version} of {self.config.model_name}"):
            return _info(self._client.get_model_version(self.config.model_name, version))

    def versions(self) -> list[VersionInfo]:
        """All versions, newest first."""
        with registry_errors("listing versions"):
            found = self._client.search_model_versions(f"name = '{self.config.model_name}'", max_results=1000)
            # the search leaves aliases out
            numbers = sorted((int(version.version) for version in found), reverse=True)
            return [_info(self._client.get_model_version(self.config.model_name, str(number))) for number in numbers]

    def metrics(self, version: VersionInfo) -> dict[str, float]:
        """The metrics of the version's run."""
        with registry_errors(f"reading the metrics of version {version.version}"):
            return dict(self._client.get_run(version.run_id).data.metrics)

    def out_of_fold(self, version: VersionInfo) -> pd.DataFrame:
        """The out-of-fold predictions logged with a version, for comparing a challenger with the champion."""
        doing = f"reading the out-of-fold predictions of version {version.version}"
        with registry_errors(doing), tempfile.TemporaryDirectory() as folder, store(self.config.tracking_uri) as mlflow:
            path = mlflow.artifacts.download_artifacts(run_id=version.run_id, artifact_path="evaluation/oof.parquet", dst_path=folder)
            return pd.read_parquet(path)

    def record_decision(self, version: str, headline: str, markdown: str, data: str) -> None:
        """Attach a decision to the version's run: ``decision/decision.md`` and ``.json``, and the headline as a tag of run and version."""
        info = self.version(version)
        with registry_errors(f"recording the decision about version {version}"):
            self._client.log_text(info.run_id, markdown, "decision/decision.md")
            self._client.log_text(info.run_id, data, "decision/decision.json")
            self._client.set_tag(info.run_id, DECISION_TAG, headline[:4900])
            self._client.set_model_version_tag(self.config.model_name, version, DECISION_TAG, headline[:4900])

    def attach(self, version: VersionInfo, metrics: Mapping[str, float], files: Sequence[Path] = (), folder: str = "backtest") -> None:
        """Add what was learned about a version after its training to its run: metrics (non-finite ones are left out) and files."""
        with registry_errors(f"attaching results to version {version.version}"):
            for name, value in metrics.items():
                if math.isfinite(value):
                    self._client.log_metric(version.run_id, name, float(value))
            for path in files:
                self._client.log_artifact(version.run_id, str(path), folder)

    def _crown(self, change: Crowning) -> None:
        name = self.config.model_name
        # history first: an alias without its history would have no way back
        self._client.set_registered_model_tag(name, change.key, change.to_json())
        self._client.set_registered_model_alias(name, CHAMPION, change.version)

    def _registered(self) -> Any:
        """MLflow's registered model, or None before the first candidate."""
        return find_model(self._client, self.config.model_name)

    def _by_alias(self, alias: str) -> VersionInfo | None:
        return find_alias(self._client, self.config.model_name, alias)

    def experiment_id(self) -> str:
        """The experiment of the runs, made when missing. Raises RegistryError when it keeps its files elsewhere."""
        wanted = self.config.artifact_root
        location = None if wanted is None else wanted if "://" in wanted else Path(wanted).resolve().as_uri()
        found = self._client.get_experiment_by_name(self.config.experiment)
        if found is None:
            return str(self._client.create_experiment(self.config.experiment, artifact_location=location))
        if location is not None and found.artifact_location.rstrip("/") != location.rstrip("/"):
            raise RegistryError(
                f"expected experiment {self.config.experiment!r} to keep its files in {location}, found {found.artifact_location}; "
                "use the folder it was created with, or another experiment name"
            )
        return str(found.experiment_id)


def find_model(connection: Any, name: str) -> Any:
    """MLflow's registered model of a name, or None when there is none."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return connection.get_registered_model(name)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise RegistryError(f"MLflow failed while reading the model {name}: {error}") from error


def find_alias(connection: Any, name: str, alias: str) -> VersionInfo | None:
    """The version behind an alias; None when model or alias do not exist. Raises RegistryError for an alias of a deleted version."""
    from mlflow.exceptions import MlflowException

    model = find_model(connection, name)
    version = None if model is None else model.aliases.get(alias)
    if version is None:
        return None
    with registry_errors(f"reading {name} version {version}, which the alias {alias!r} names"):
        try:
            return _info(connection.get_model_version(name, str(version)))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise RegistryError(
                f"expected version {version} of {name!r}, which the alias {alias!r} names, found it deleted; point the alias at a version "
                "that exists (MLflow's page of the model, or job rollback_model)"
            ) from error


def _now() -> datetime:
    return datetime.now(UTC)


def _somebody() -> str:
    """The account of this process, when nobody gave a better name."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return f"user {os.getuid()}@{socket.gethostname()}"


def _info(version: Any) -> VersionInfo:
    tags = dict(version.tags)
    profile = tags.get(PROFILE_TAG, "")
    report = next((tags[key] for key in (f"{REPORT_TAG}.{p}" for p in (profile, *reversed(PROFILES))) if key in tags), None)
    return VersionInfo(
        name=version.name,
        version=str(version.version),
        run_id=version.run_id,
        source=version.source,
        aliases=tuple(version.aliases),
        profile=profile,
        report=GateReport.from_json(report) if report else None,
        created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        tags=tags,
    )
