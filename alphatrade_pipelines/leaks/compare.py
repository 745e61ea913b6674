"""Equal to the last bit, or where not."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.leaks.errors import LeakProbeError
from alphatrade_pipelines.leaks.report import Alarm, Report

Output = pd.DataFrame | pd.Series | pd.Index


def as_frame(output: Output) -> pd.DataFrame:
    """Any output as a frame on its own (symbol, timestamp) index; an index of events becomes a column of ones."""
    if isinstance(output, pd.Index):
        output = pd.Series(1.0, index=output, name="event")
    frame = output.to_frame(output.name if output.name is not None else "value") if isinstance(output, pd.Series) else output
    if not isinstance(frame, pd.DataFrame) or "timestamp" not in frame.index.names:
        raise LeakProbeError("an output indexed by (symbol, timestamp)", str(getattr(frame, "index", type(frame)))[:80])
    return frame


def times(frame: pd.DataFrame) -> pd.DatetimeIndex:
    """Time stamp of each row."""
    return pd.DatetimeIndex(frame.index.get_level_values("timestamp"))


@dataclass
class Findings:
    """Collects the comparisons of one subject: the first alarm for each column and probe, refusals, how much was compared."""

    subject: str
    alarms: dict[tuple[str, str], Alarm] = field(default_factory=dict)
    checked: int = 0
    refused: list[str] = field(default_factory=list)

    def compare(self, before: pd.DataFrame, after: pd.DataFrame, probe: str, cut: object, may_vanish: bool = False) -> None:
        """Record what of ``before`` is not the same in ``after``. ``may_vanish``: rows of ``before`` may be missing, none may be new."""
        if before.index.equals(after.index):
            left, right = before, after
        else:
            gone, new = before.index.difference(after.index), after.index.difference(before.index)
            if len(gone) and not may_vanish:
                self._add(probe, "row", gone[0], cut, "there", "gone", len(gone))
            if len(new):
                self._add(probe, "row", new[0], cut, "absent", "there", len(new))
            common = before.index.intersection(after.index)
            left, right = before.loc[common], after.loc[common]
        for name in before.columns:
            if name not in after.columns:
                self._add(probe, str(name), before.index[0] if len(before) else "", cut, "a column", "no column", len(before))
                continue
            old, new_values = left[name].to_numpy(), right[name].to_numpy()
            same = _same(old, new_values)
            self.checked += int(np.sum(~pd.isna(old)))
            if not same.all():
                at = int(np.argmin(same))
                self._add(probe, str(name), left.index[at], cut, _text(old[at]), _text(new_values[at]), int((~same).sum()))

    def _add(self, probe: str, column: str, key: object, cut: object, before: str, after: str, count: int) -> None:
        self.alarms.setdefault((column, probe), Alarm(self.subject, probe, column, place(key), _moment(cut), before, after, count))

    @property
    def report(self) -> Report:
        return Report(self.subject, tuple(self.alarms.values()), self.checked, tuple(self.refused))

    def attempt(self, run: Callable[[], Output], probe: str, cut: object) -> pd.DataFrame | None:
        """Run a subject on an altered world; None, and a note, when it refuses."""
        with quiet():
            try:
                return as_frame(run())
            except Exception as error:  # noqa: BLE001 - whatever a subject raises on garbage is a refusal, and is reported
                self.refused.append(f"{probe} ({_moment(cut)}): {type(error).__name__}: {str(error)[:120]}")
                return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Garbage overflows and divides by zero on purpose: no warnings."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def place(key: object) -> str:
    """``AAPL 2005-02-28T14:30:00+00:00``."""
    parts = key if isinstance(key, tuple) else (key,)
    return " ".join(part.isoformat() if isinstance(part, pd.Timestamp) else str(part) for part in parts)


def _moment(cut: object) -> str:
    return f"known until {cut.isoformat()}" if isinstance(cut, pd.Timestamp) else str(cut)


def _text(value: object) -> str:
    return repr(float(value)) if isinstance(value, float | np.floating) else str(value)


def _same(old: npt.NDArray[np.generic], new: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    if old.dtype.kind == "f" and new.dtype.kind == "f":
        left, right = old.astype(np.float64), new.astype(np.float64)
        return np.asarray((left.view(np.int64) == right.view(np.int64)) | (np.isnan(left) & np.isnan(right)), dtype=np.bool_)
    return np.asarray((old == new) | (pd.isna(old) & pd.isna(new)), dtype=np.bool_)
