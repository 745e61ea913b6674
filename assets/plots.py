"""Pictures for asset metadata: small PNGs inside Markdown, so the Dagster page shows them without any server."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def picture(title: str, draw: Callable[[Axes], None], width: float = 9.0, height: float = 3.2) -> dg.MarkdownMetadataValue:
    """Draw on one set of axes and return the plot as Markdown metadata."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height), layout="constrained")
    axes = drawing.subplots()
    draw(axes)
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure(title, drawing)


def figure(title: str, drawn: Figure) -> dg.MarkdownMetadataValue:
    """A finished matplotlib figure as Markdown metadata."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(drawn)
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=90)
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})")
