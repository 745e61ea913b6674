"""Group `registry`: the promotion gate."""

from typing import Any

import dagster as dg

from alphatrade_pipelines.research import promoting
from alphatrade_pipelines.settings import Settings
from assets.data import OWNERS
from assets.links import mlflow_links
from assets.reuse import KeptFacts, reusable

ECONOMICS = ("deflated_sharpe", "backtest_return", "pbo")


@dg.asset(group_name="registry", owners=OWNERS, kinds={"mlflow"}, code_version="1", pool="registry")
@reusable(
    inputs=("model_candidate", "model_evaluation", "backtest_report"),
    rooms=("models", "research"),
    sections=("model",),
    kept=KeptFacts,
    also=lambda settings: repr(promoting.gate_thresholds()),
)
def promotion(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    model_candidate: dict[str, Any],
    model_evaluation: dict[str, float],
    backtest_report: dict[str, Any],
) -> dg.MaterializeResult[dict[str, str]]:
    """The two-profile gate. `paper` asks for integrity, `live` also for economics; a refused candidate leaves the champion alone."""
    economics = {name: float(backtest_report[name]) for name in ECONOMICS if name in backtest_report}
    decision = promoting.decide_promotion(
        settings, model_candidate["version"], {**model_evaluation, **economics}, by=f"Dagster run {context.run.run_id}"
    )
    if not decision.profile:  # also the champion itself, judged again by another gate
        context.log.error("ALERT %s", decision.headline)
    elif decision.champion == decision.version:
        context.log.info(decision.headline)
    else:
        context.log.warning(decision.headline)
    return dg.MaterializeResult(
        value={
            "version": decision.version,
            "profile": decision.profile,
            "champion": decision.champion,
            "headline": decision.headline,
        },
        metadata={
            "version": decision.version,
            "profile": decision.profile or "refused",
            "champion": decision.champion or "none",
            "decision": decision.headline,
            "gate": dg.MetadataValue.md(decision.to_markdown()),
            **mlflow_links(settings, model_candidate["mlflow_run_id"], decision.version),
        },
    )


@dg.asset_check(asset=promotion, description="The newest candidate passed a profile of the gate; a refused one left the champion alone")
def candidate_accepted(promotion: dict[str, str]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=bool(promotion["profile"]),
        severity=dg.AssetCheckSeverity.WARN,
        description=promotion["headline"],
        metadata={"version": promotion["version"], "champion": promotion["champion"] or "none"},
    )
