"""Group `monitoring`: is the champion still the model for this market?"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from alphatrade_pipelines import bootstrap, monitoring
from alphatrade_pipelines.settings import Settings
from assets.data import OWNERS, bars
from assets.plots import picture
from assets.registry import promotion

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 30
NO_CHAMPION = "no usable champion"


@dg.asset(group_name="monitoring", owners=OWNERS, kinds={"python", "mlflow"}, code_version="1", deps=[bars, promotion])
def model_health(settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[dict[str, Any]]:
    """Age of the champion, evidence against its live probabilities, drift of inputs, predictions and regimes; missing bars, volume feed."""
    health = monitoring.model_health(settings)
    if health is None:
        return dg.MaterializeResult(value={"champion": ""}, metadata={"champion": NO_CHAMPION})
    score, inputs = health.score, health.inputs
    alarm = monitoring.input_alarm(inputs)
    facts: dict[str, Any] = {
        "champion": health.version,
        "age_days": health.age.age.days,
        "stale_by_age": health.age.stale,
        "resolved_predictions": score.resolved,
        "evidence_against": score.peak,
        "evidence_limit": 1.0 / score.false_alarm_rate,
        "stale_by_score": score.stale,
        "drifted_features": len(inputs.own.drifted),
        "features": len(inputs.own.table),
        "drift_asks_for_retrain": inputs.own.share >= settings.model.drift_share,
        "missing_bars": inputs.missing,
        "alarm": alarm,
    }
    return dg.MaterializeResult(
        value=facts,
        metadata={
            **{name: value for name, value in facts.items() if name != "alarm"},
            "alarm": alarm or "none",
            "accuracy_of_last_100": float(score.accuracy) if score.resolved else "no resolved prediction",
            "log_loss_gain": score.log_loss_gain,
            "features_table": dg.MetadataValue.md(bootstrap.as_markdown(_ordered(inputs.own.table).head(SHOWN).round(4).reset_index())),
            "predictions": dg.MetadataValue.md(_predictions(inputs.own.prediction)),
            "regimes": dg.MetadataValue.md(_regimes(inputs.own.regimes)),
            "drift": picture("KS distance from training, furthest features (dark: drifted)", _distances(inputs.own.table), height=5.0),
            "evidence": picture(
                "Evidence against the champion's live probabilities", _evidence(health.evidence, 1.0 / score.false_alarm_rate)
            ),
        },
    )


@dg.asset_check(asset=model_health, description="Young enough, not refuted by its live predictions, inputs as in training")
def champion_is_fit(model_health: dict[str, Any]) -> dg.AssetCheckResult:
    if not model_health["champion"]:
        return dg.AssetCheckResult(passed=True, description=NO_CHAMPION)
    wrong = [name for name in ("stale_by_age", "stale_by_score", "drift_asks_for_retrain") if model_health[name]]
    return dg.AssetCheckResult(
        passed=not wrong,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"champion {model_health['champion']}: {', '.join(wrong) or 'fit'}",
    )


@dg.asset_check(asset=model_health, description="One volume feed, and no more missing bars than before: what a retrain could not mend")
def inputs_are_comparable(model_health: dict[str, Any]) -> dg.AssetCheckResult:
    alarm = model_health.get("alarm", "")
    return dg.AssetCheckResult(passed=not alarm, severity=dg.AssetCheckSeverity.WARN, description=alarm or "nothing to report")


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(["drifted", "ks"], ascending=False, kind="stable")


def _predictions(row: pd.Series | None) -> str:
    return "no complete recent rows" if row is None else bootstrap.as_markdown(row.to_frame().T.reset_index())


def _regimes(table: pd.DataFrame | None) -> str:
    return "no regime features" if table is None or table.empty else bootstrap.as_markdown(table.round(3).reset_index())


def _distances(table: pd.DataFrame) -> "Callable[[Axes], None]":
    rows = _ordered(table).head(SHOWN).iloc[::-1]

    def draw(axes: "Axes") -> None:
        axes.barh(rows.index, rows["ks"].to_numpy(float), height=0.7, color=["C0" if one else "0.8" for one in rows["drifted"]])
        axes.tick_params(labelsize=7)

    return draw


def _evidence(path: pd.Series, limit: float) -> "Callable[[Axes], None]":
    def draw(axes: "Axes") -> None:
        if path.empty:
            axes.text(0.5, 0.5, "no live prediction is resolved yet", ha="center", va="center", transform=axes.transAxes)
            return
        axes.step(path.index, path.to_numpy().clip(1e-3), where="post")
        axes.axhline(limit, color="C3", linewidth=1)
        axes.set_yscale("log")
        axes.set_ylabel("evidence (line: stale)")

    return draw
