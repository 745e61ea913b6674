"""Group `registry`: the promotion gate."""

from typing import Any

import dagster as dg

from alphatrade_pipelines import research
from alphatrade_pipelines.settings import Settings
from assets.data import OWNERS


@dg.asset(group_name="registry", owners=OWNERS, kinds={"mlflow"}, code_version="1", pool="registry")
def promotion(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    model_candidate: dict[str, Any],
    model_evaluation: dict[str, float],
    backtest_report: dict[str, Any],
) -> dg.MaterializeResult[dict[str, str]]:
    """The two-profile gate. `paper` asks for integrity, `live` also for economics; a refused candidate leaves the champion alone."""
    economics: dict[str, float] = {
        name: float(backtest_report[name]) for name in ("deflated_sharpe", "backtest_return") if name in backtest_report
    }
    decision = research.decide_promotion(settings, model_candidate["version"], {**model_evaluation, **economics})
    if decision.profile:
        context.log.info("version %s passed the %s gate and is champion", decision.version, decision.profile)
    else:
        context.log.warning("version %s was refused; champion stays %s", decision.version, decision.champion or "nobody")
    return dg.MaterializeResult(
        value={"version": decision.version, "profile": decision.profile, "champion": decision.champion},
        metadata={
            "version": decision.version,
            "profile": decision.profile or "refused",
            "champion": decision.champion or "none",
            "gate": dg.MetadataValue.md("\n\n".join(report.to_markdown() for report in decision.reports)),
        },
    )
