"""Pictures of a training, for MLflow and Dagster."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from alphatrade_pipelines.models.metrics import Reliability

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def reliability_figure(bins: Reliability, base_rate: float, title: str = "Reliability, out of fold") -> Figure:
    """Observed frequency against predicted probability with two-standard-error bars, the band a perfect model would stay in (19 times of
    20 in each bin), and how many rows each bin holds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 6.0), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    low = min(bins.predicted.min(), bins.observed.min(), bins.low.min()) - 0.02
    high = max(bins.predicted.max(), bins.observed.max(), bins.high.max()) + 0.02
    top.plot([low, high], [low, high], color="0.6", linestyle="--", label="perfect")
    top.fill_between(bins.predicted, bins.low, bins.high, color="0.9", label="consistent with perfect, 95 %")
    top.axhline(base_rate, color="0.8", label="base rate")
    top.errorbar(
        bins.predicted, bins.observed, yerr=2 * bins.error, fmt="o", color="tab:blue", capsize=3, label="bins, two standard errors"
    )
    top.set(ylabel="observed frequency")
    top.set_title(f"{title}\n{_verdict(bins)}", loc="left", fontsize=9)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    bottom.vlines(bins.predicted, 0, bins.rows, color="tab:blue", linewidth=3)
    bottom.set(xlabel="predicted probability", ylabel="rows")
    return figure


def _verdict(bins: Reliability) -> str:
    found = "no evidence of miscalibration" if bins.ece <= bins.noise_95 else f"root mean square {bins.debiased:.3f} beyond noise"
    return f"ECE {bins.ece:.3f}, a perfect model shows {bins.noise:.3f} on average and up to {bins.noise_95:.3f}:\n{found}"


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
