"""The trial ledger: every model that was ever tried on the data counts when one of them is judged. MLflow keeps it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphatrade_pipelines.models._mlflow import client, registry_errors
from alphatrade_pipelines.models.errors import ModelDataError

TRIAL_TAG = "alphatrade.trial"
HASH_TAG = "bundle_hash"
SHARPE_METRIC = "trial_sharpe"


@dataclass(frozen=True, slots=True)
class TrialSummary:
    """``count`` distinct models tried, whether or not a Sharpe ratio is known of them, and the population variance (ddof 0) of the
    known Sharpe ratios per observation; None when fewer than two are known."""

    count: int
    sharpe_variance: float | None


class TrialLedger:
    """Trials of one experiment. The same model trained again on the same data (equal bundle hash) is not a new trial."""

    def __init__(self, tracking_uri: str, experiment: str) -> None:
        self.tracking_uri, self.experiment = tracking_uri, experiment

    def record_sharpe(self, run_id: str, sharpe: float) -> None:
        """Add the backtest's Sharpe ratio PER OBSERVATION (not annualised) to the run of its model. Raises ModelDataError unless finite."""
        if not np.isfinite(sharpe):
            raise ModelDataError("a finite Sharpe ratio", str(sharpe), "A backtest without variance has none; record nothing.")
        connection = client(self.tracking_uri)
        with registry_errors(f"recording the Sharpe ratio of run {run_id}"):
            connection.log_metric(run_id, SHARPE_METRIC, float(sharpe))

    def summary(self) -> TrialSummary:
        """Count and variance over all runs of the experiment, failed and deleted ones included: they too looked at the data."""
        from mlflow.entities import ViewType

        connection = client(self.tracking_uri)
        found: dict[str, float | None] = {}
        with registry_errors(f"reading the trials of {self.experiment}"):
            experiment = connection.get_experiment_by_name(self.experiment)
            if experiment is None:
                return TrialSummary(0, None)
            token = None
            while True:
                page = connection.search_runs(
                    [experiment.experiment_id], f"tags.`{TRIAL_TAG}` = 'true'", ViewType.ALL, 1000, ["attributes.start_time"], token
                )
                for run in page:
                    key = run.data.tags.get(HASH_TAG, run.info.run_id)
                    found[key] = run.data.metrics.get(SHARPE_METRIC, found.get(key))
                token = page.token
                if not token:
                    break
        known = [sharpe for sharpe in found.values() if sharpe is not None]
        return TrialSummary(len(found), float(np.var(known)) if len(known) > 1 else None)
