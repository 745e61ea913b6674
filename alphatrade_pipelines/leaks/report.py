"""What the probes found, for people: what changed, where, from what to what, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ADVICE = {
    "truncation": "A value at t needs bars after t: look for shift(-n), center=True, bfill, interpolate, or statistics of the sample.",
    "poison": "A value at t reads bars after t: use trailing or expanding windows, or freeze the statistic on training bars in fit().",
    "poison actions": "Later splits or dividends change it: adjust forward (adjust_forward), never as of the end of the sample.",
    "poison deaths": "It depends on who is still there later: select symbols by what was known at t, with dates of joining and leaving.",
    "poison newcomers": "Symbols of the future take part: compare only the symbols present at t.",
    "same bar": "Decided at the open but reads the bar's own high, low, close or volume: use the bar before, or decide at the close.",
    "fit isolation": "fit() reads bars outside the training rows: select rows first, fit on nothing else, once for each fold.",
    "test labels": "Outcomes of test rows reach the model: encode, select, stop and calibrate inside the training rows.",
    "test features": "Other test rows reach a prediction: fit scalers, imputers and projections on training rows; never rank a test set.",
    "test weights": "Weights or end times of test rows reach the fold: compute weights from the training rows alone.",
    "purged rows": "Rows that were purged or embargoed reach the fold: train on the given training rows only.",
    "label horizon": "The outcome needs bars after its stated end t1: state the time at which it is really known.",
    "label decision": "A column said to be known at the decision reads later bars: take volatility and barriers from bars up to t.",
    "label past": "The outcome includes a move that was known at the decision: enter after the decision, at the next open.",
    "shared rows": "A row is in training and in test.",
    "overlap": "A training label lives while a test label does: purge each training row whose [time, t1] meets a test row's.",
    "embargo": "A training row follows a test label too closely: its features look back into the test span. Embargo it.",
    "adjusted column": "It is adjusted with later splits or dividends: use raw prices with split and dividend columns and adjust_forward.",
    "survivors": "No symbol ever leaves: a list made at the end. Load who belonged when, delisted symbols included.",
    "membership": "Rows of a symbol that did not belong to the universe then: keep those between its dates only.",
}


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that knew too much: at most one for each column and probe, the first value that changed.

    ``cut``: the last moment that was left untouched, or the fold. ``count``: values that changed. ``before``/``after`` as text, to the bit.
    """

    subject: str
    probe: str
    column: str
    where: str
    cut: str
    before: str
    after: str
    count: int

    @property
    def advice(self) -> str:
        """What to do about it."""
        return ADVICE.get(self.probe) or ADVICE[next(name for name in sorted(ADVICE, key=len, reverse=True) if self.probe.startswith(name))]

    def __str__(self) -> str:
        more = f" (and {self.count - 1} more)" if self.count > 1 else ""
        change = f"{self.where} was {self.before}, became {self.after}{more}"
        return f"{self.subject}: {self.column}: {self.probe} ({self.cut}): {change}. {self.advice}"


@dataclass(frozen=True, slots=True)
class Report:
    """Outcome of probing one subject. ``values_checked`` counts comparisons: zero proves nothing. ``refused``: futures that the subject
    rejected with an error of its own, in which nothing could be compared."""

    subject: str
    alarms: tuple[Alarm, ...]
    values_checked: int
    refused: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Something was compared and nothing changed."""
        return not self.alarms and self.values_checked > 0

    @property
    def offending(self) -> tuple[str, ...]:
        """Columns with an alarm, in order of discovery."""
        return tuple(dict.fromkeys(alarm.column for alarm in self.alarms))

    def __str__(self) -> str:
        state = "clean" if self.clean else f"{len(self.alarms)} alarms" if self.alarms else "nothing could be compared"
        refused = f", {len(self.refused)} futures refused" if self.refused else ""
        return f"{self.subject}: {state} ({self.values_checked:,} values{refused})"


def merged(subject: str, reports: Iterable[Report]) -> Report:
    """One report of several probes of one subject."""
    parts = list(reports)
    return Report(
        subject,
        tuple(alarm for part in parts for alarm in part.alarms),
        sum(part.values_checked for part in parts),
        tuple(text for part in parts for text in part.refused),
    )
