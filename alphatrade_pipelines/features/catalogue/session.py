"""Where price stands within its own session, and how long since the bar before.

A session is a New York date. Sums and extremes run from the symbol's first bar of the session, at most over the last ``limit`` bars.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphatrade_pipelines.features.base import FloatArray, IntArray, Series, State, SymbolFeature, register, require_integer
from alphatrade_pipelines.features.jit import kernel
from alphatrade_pipelines.features.kernels import logs, positive, previous


@register("days_since_bar", formula="day[i] - day[i - 1]", reference="French (1980)")
@dataclass(frozen=True)
class DaysSinceBar(SymbolFeature):
    """Calendar days since the symbol's bar before: 1 overnight, 3 over a weekend, more after holidays and halts, 0 within a session."""

    @property
    def warmup(self) -> int:
        return 2

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return (series.day - previous(series.day))[first:]


@dataclass(frozen=True)
class InSession(SymbolFeature):
    """Reads the bars of the session so far."""

    limit: int = 390

    def __post_init__(self) -> None:
        require_integer(self.kind, "limit", self.limit, 1)

    @property
    def warmup(self) -> int:
        return 1

    @property
    def memory(self) -> int:
        return self.limit + 1

    def begin(self, series: Series, first: int) -> IntArray:
        """Row of the first bar of each row's session, at most ``limit`` - 1 rows before it."""
        return session_begin(series.day, self.limit, first)


@register("session_return", formula="c - o[first bar of the session]", reference="Heston, Korajczyk and Sadka (2010)")
@dataclass(frozen=True)
class SessionReturn(InSession):
    """Log return since the session's first open."""

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return series.log_close[first:] - series.log_open[self.begin(series, first)]


@register("overnight_return", formula="o[first bar of the session] - c[the bar before it]", reference="Lou, Polk and Skouras (2019)")
@dataclass(frozen=True)
class OvernightReturn(InSession):
    """Log return from the last close of the session before to the session's first open; NaN in a symbol's first session."""

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return (series.log_open - previous(series.log_close))[self.begin(series, first)]


@register("vwap_distance", formula="c - ln(sum C V / sum V) over the session", reference="Berkowitz, Logue and Noser (1988)")
@dataclass(frozen=True)
class VwapDistance(InSession):
    """Log distance of the close from the session's volume-weighted mean close; NaN before any volume."""

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        begin = self.begin(series, first)
        money, shares = session_sum(series.close * series.volume, begin, first), session_sum(series.volume, begin, first)
        return series.log_close[first:] - logs(money / positive(shares))


@register("session_location", formula="(c - min l) / (max h - min l) over the session", reference="Williams (1973)")
@dataclass(frozen=True)
class SessionLocation(InSession):
    """Where the close stands in the session's range so far, 0 (low) to 1 (high); NaN without range."""

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        begin = self.begin(series, first)
        top, bottom = session_maximum(series.log_high, begin, first), -session_maximum(-series.log_low, begin, first)
        return (series.log_close[first:] - bottom) / positive(top - bottom)


@kernel
def session_begin(day: FloatArray, limit: int, first: int) -> IntArray:
    """For each row the first row of the same day, at most ``limit`` rows counted with itself."""
    n = day.size
    out = np.empty(n - first, np.int64)
    begin = first
    while begin > 0 and day[begin - 1] == day[first]:
        begin -= 1
    for i in range(first, n):
        if i > first and day[i] != day[i - 1]:
            begin = i
        out[i - first] = max(begin, i - limit + 1)
    return out


@kernel
def session_sum(x: FloatArray, begin: IntArray, first: int) -> FloatArray:
    """Sum of x from row begin[i] to row i, added from left to right: one addition a row while the beginning stays."""
    out = np.empty(begin.size)
    for i in range(begin.size):
        if i > 0 and begin[i] == begin[i - 1]:
            out[i] = out[i - 1] + x[first + i]
        else:
            out[i] = 0.0
            for k in range(begin[i], first + i + 1):
                out[i] += x[k]
    return out


@kernel
def session_maximum(x: FloatArray, begin: IntArray, first: int) -> FloatArray:
    """Largest x from row begin[i] to row i."""
    out = np.empty(begin.size)
    for i in range(begin.size):
        if i > 0 and begin[i] == begin[i - 1]:
            out[i] = max(out[i - 1], x[first + i])
        else:
            out[i] = x[begin[i]]
            for k in range(begin[i], first + i + 1):
                out[i] = max(out[i], x[k])
    return out
