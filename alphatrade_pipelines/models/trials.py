"""The trial ledger: every model that was ever tried on the data counts when one of them is judged. MLflow keeps it.

A run is opened before the first fit, so that a training that fails, is refused or is killed has counted. Its key names data, features,
configuration and code: the same training repeated is not a new trial. What a trial would have earned is kept with its run as returns
by session, so that trials that are nearly the same (a nightly retrain with one more day) can be recognised as such.

What a search inside a training tries (:mod:`~alphatrade_pipelines.models.knobs`) is written into its run as tags, each before its first
fit, once for every version of the data. It leaves no returns to be clustered by: each distinct set of parameters is a cluster of its own.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alphatrade_pipelines.models._mlflow import client, registry_errors, store
from alphatrade_pipelines.models.bundle import canonical_json
from alphatrade_pipelines.models.errors import ModelDataError

TRIAL_TAG = "alphatrade.trial"
KEY_TAG = "alphatrade.trial_key"
PROCESS_TAG = "alphatrade.process"
FAILURE_TAG = "alphatrade.failure"
TUNED_TAG = "alphatrade.tuned."
HASH_TAG = "bundle_hash"
SHARPE_METRIC = "trial_sharpe"
SERIES_FOLDER, SERIES_FILE = "trial", "session_returns.parquet"


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of the ledger. ``status`` is MLflow's (FINISHED, FAILED, KILLED, RUNNING); ``deleted`` runs have looked at the data too.

    ``tuned``: what a search inside it tried, each as ``parameters.data``.
    """

    run_id: str
    key: str
    status: str
    deleted: bool
    sharpe: float | None
    tuned: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrialSummary:
    """``count`` distinct trials; ``series`` the returns by session (index) of those that left any (columns); ``unknown`` the
    others, ``tuned`` of all those tried by searches inside trainings. ``repeats``: how many of these were parameters tried before, on other
    data: counted, but in ``unknown`` once, as a training repeated every night is many trials and one cluster."""

    count: int
    series: pd.DataFrame
    unknown: int
    tuned: int = 0
    repeats: int = 0


def trial_key(facts: Mapping[str, Any]) -> str:
    """Fingerprint of everything a training depends on (data, features, configuration, code), known before its first fit."""
    return hashlib.sha256(canonical_json(dict(facts))).hexdigest()


class TrialLedger:
    """The trials of one experiment. Methods raise RegistryError when MLflow cannot be reached."""

    def __init__(self, tracking_uri: str, experiment: str) -> None:
        self.tracking_uri, self.experiment = tracking_uri, experiment

    @contextmanager
    def trial(self, experiment_id: str, key: str, tags: Mapping[str, str]) -> Iterator[str]:
        """Open a run before the first fit and give its id; a failure inside ends it FAILED (an interruption KILLED) with its reason.

        Whoever logs the model into the run ends it. Runs left RUNNING by processes of this machine that are gone are ended first.
        """
        connection = client(self.tracking_uri)
        with registry_errors("opening a trial"):
            self._end_orphans(connection, experiment_id)
            given = {**tags, TRIAL_TAG: "true", KEY_TAG: key, PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}"}
            run_id = str(connection.create_run(experiment_id, tags=given).info.run_id)
        try:
            yield run_id
        except BaseException as error:
            with registry_errors(f"ending the trial {run_id}"):
                connection.set_tag(run_id, FAILURE_TAG, f"{type(error).__name__}: {error}"[:4000])
                connection.set_terminated(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
            raise

    def finish(self, run_id: str, what: str) -> None:
        """End a trial that logs no model of its own; ``what`` it was becomes a note on the run."""
        connection = client(self.tracking_uri)
        with registry_errors(f"ending the trial {run_id}"):
            connection.set_tag(run_id, "mlflow.note.content", what)
            connection.set_terminated(run_id, "FINISHED")

    def record(self, run_id: str, returns: pd.Series | pd.DataFrame) -> None:
        """Keep what a trial would have earned: returns a session (index: aware UTC), for a search one column a configuration it tried.

        The first column is the trial itself; its Sharpe ratio per session becomes a metric. Raises ModelDataError: NaN, or no sessions.
        """
        frame = returns.to_frame("returns") if isinstance(returns, pd.Series) else returns
        values = frame.to_numpy(np.float64)
        if values.size == 0 or not np.isfinite(values).all():
            raise ModelDataError("finite returns by session", f"{values.shape[0]} sessions, {int((~np.isfinite(values)).sum())} not finite")
        connection = client(self.tracking_uri)
        with registry_errors(f"recording the returns of run {run_id}"), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / SERIES_FILE
            frame.set_axis([str(name) for name in frame.columns], axis=1).astype(np.float32).to_parquet(path)
            connection.log_artifact(run_id, str(path), SERIES_FOLDER)
            deviation = float(values[:, 0].std(ddof=1)) if len(values) > 1 else 0.0
            if deviation > 0.0:
                connection.log_metric(run_id, SHARPE_METRIC, float(values[:, 0].mean()) / deviation)

    def note_tuning(self, run_id: str, key: str, data: str, knobs: Mapping[str, Any]) -> None:
        """Count what a search inside the trial ``run_id`` is about to try on ``data`` (their hash). Equal keys on equal data are one trial,
        in whichever run they are."""
        with registry_errors(f"counting a tuning trial of run {run_id}"):
            client(self.tracking_uri).set_tag(run_id, f"{TUNED_TAG}{key[:16]}.{data[:16]}", canonical_json(dict(knobs)).decode())

    def trials(self) -> list[Trial]:
        """Every run that counts, oldest first: finished, failed, refused, killed, running and deleted ones."""
        from mlflow.entities import ViewType

        connection, found = client(self.tracking_uri), []
        with registry_errors(f"reading the trials of {self.experiment}"):
            experiment = connection.get_experiment_by_name(self.experiment)
            token = None
            while experiment is not None:
                page = connection.search_runs(
                    [experiment.experiment_id], f"tags.`{TRIAL_TAG}` = 'true'", ViewType.ALL, 1000, ["attributes.start_time"], token
                )
                found += [_trial(run) for run in page]
                token = page.token
                if not token:
                    break
        return found

    def summary(self) -> TrialSummary:
        """Distinct trials and their returns. Of runs with one key the newest with a series speaks."""
        by_key: dict[str, list[Trial]] = {}
        tuned: set[str] = set()
        for trial in self.trials():
            tuned.update(trial.tuned)
            by_key.setdefault(trial.key, []).append(trial)
        frames = [self._series(runs) for runs in by_key.values()]
        known = [frame.add_prefix(f"{key[:8]}:") for key, frame in zip(by_key, frames, strict=True) if frame is not None]
        series = pd.concat(known, axis=1) if known else pd.DataFrame()
        distinct = len({name.partition(".")[0] for name in tuned})
        unknown, repeats = len(frames) - len(known) + distinct, len(tuned) - distinct
        return TrialSummary(series.shape[1] + unknown + repeats, series, unknown, len(tuned), repeats)

    def _series(self, runs: Sequence[Trial]) -> pd.DataFrame | None:
        for trial in reversed(runs):
            frame = None if trial.sharpe is None else self.returns_of(trial.run_id)
            if frame is not None:
                return frame
        return None

    def returns_of(self, run_id: str) -> pd.DataFrame | None:
        """The recorded returns of a run; None when it left none or its files are gone."""
        from mlflow.exceptions import MlflowException

        with registry_errors(f"reading the returns of run {run_id}"), tempfile.TemporaryDirectory() as folder:
            try:
                with store(self.tracking_uri) as mlflow:
                    path = mlflow.artifacts.download_artifacts(
                        run_id=run_id, artifact_path=f"{SERIES_FOLDER}/{SERIES_FILE}", dst_path=folder
                    )
            except (MlflowException, OSError):
                if self._reachable():
                    return None  # deleted with its run, or never written
                raise
            return pd.read_parquet(path)

    def _reachable(self) -> bool:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            client(self.tracking_uri).get_experiment_by_name(self.experiment)
        except (MlflowException, SQLAlchemyError, OSError):
            return False
        return True

    def _end_orphans(self, connection: Any, experiment_id: str) -> None:
        running = connection.search_runs([experiment_id], f"tags.`{TRIAL_TAG}` = 'true' and attributes.status = 'RUNNING'")
        for run in running:
            host, _, pid = run.data.tags.get(PROCESS_TAG, "").rpartition(":")
            if host == socket.gethostname() and pid.isdigit() and int(pid) != os.getpid() and not _alive(int(pid)):
                connection.set_tag(run.info.run_id, FAILURE_TAG, f"process {pid} died while it trained")
                connection.set_terminated(run.info.run_id, "KILLED")


def _trial(run: Any) -> Trial:
    tags = run.data.tags
    key = tags.get(KEY_TAG) or tags.get(HASH_TAG) or run.info.run_id
    deleted = run.info.lifecycle_stage == "deleted"
    tuned = tuple(sorted(name.removeprefix(TUNED_TAG) for name in tags if name.startswith(TUNED_TAG)))
    return Trial(run.info.run_id, key, run.info.status, deleted, run.data.metrics.get(SHARPE_METRIC), tuned)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
