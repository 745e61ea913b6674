"""Line and area charts as inline SVG: no library, no network, sharp at any size, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 960, 64, 16, 14, 26
MOST_POINTS = 1200


@dataclass(frozen=True, slots=True)
class Line:
    """One series. ``style`` is a class of the style sheet; ``filled`` paints the area down to zero."""

    name: str
    values: pd.Series
    style: str
    filled: bool = False


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) that cover [low, high] with about ``about`` steps."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def chart(lines: Sequence[Line], height: int, label: Callable[[float], str], title: str) -> str:
    """A chart of series that share one time index. ``label`` writes a value on the axis."""
    index = pd.DatetimeIndex(lines[0].values.index)
    low = min(float(line.values.min()) for line in lines)
    high = max(float(line.values.max()) for line in lines)
    pad = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    low, high = low - pad, (0.0 if all(line.filled for line in lines) and high <= 0 else high + pad)
    frame = _Frame(index, low, high, height)
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>']
    parts += [_horizontal(frame, value, label(value)) for value in nice_ticks(low, high)]
    parts += [_vertical(frame, at, text) for at, text in time_ticks(index)]
    parts += [_draw(frame, line) for line in lines]
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True, slots=True)
class _Frame:
    """From data to pixels."""

    index: pd.DatetimeIndex
    low: float
    high: float
    height: int

    def x(self, position: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * position / max(1, len(self.index) - 1)

    def y(self, value: float) -> float:
        return TOP + (self.height - TOP - BOTTOM) * (self.high - value) / (self.high - self.low)


def _horizontal(frame: _Frame, value: float, text: str) -> str:
    y = frame.y(value)
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>'
    )


def _vertical(frame: _Frame, position: int, text: str) -> str:
    x = frame.x(position)
    return (
        f'<line class="grid faint" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{frame.height - BOTTOM}"/>'
        f'<text class="tick" x="{x:.1f}" y="{frame.height - 8}" text-anchor="middle">{text}</text>'
    )


def time_ticks(index: pd.DatetimeIndex) -> list[tuple[int, str]]:
    """Positions and names of month or year beginnings: never more than about a dozen."""
    days = index.tz_convert("America/New_York") if index.tz is not None else index
    months = np.asarray(days.year * 12 + days.month - 1)
    starts = [position for position in range(1, len(months)) if months[position] != months[position - 1]]
    for step in (1, 2, 3, 6, 12, 24, 60):
        chosen = [position for position in starts if months[position] % step == 0]
        if len(chosen) <= 12:
            break
    form = "%b %Y" if step < 12 else "%Y"
    return [(position, days[position].strftime(form)) for position in chosen]


def _draw(frame: _Frame, line: Line) -> str:
    values = line.values.to_numpy(dtype=float)
    every = max(1, math.ceil(len(values) / MOST_POINTS))
    chosen = sorted({*range(0, len(values), every), len(values) - 1})
    points = " ".join(f"{frame.x(position):.1f},{frame.y(values[position]):.1f}" for position in chosen)
    area = ""
    if line.filled:
        zero = frame.y(0.0)
        area = f'<polygon class="area {line.style}" points="{frame.x(0):.1f},{zero:.1f} {points} {frame.x(chosen[-1]):.1f},{zero:.1f}"/>'
    return f'{area}<polyline class="line {line.style}" points="{points}"><title>{escape(line.name)}</title></polyline>'
