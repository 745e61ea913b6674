"""Labels look ahead by design. Do they look no further than they say, and do they earn nothing that was known before?

Three probes of a labelling function (bars, volatility known at each close) -> frame with ``t1``, the start of the first bar by which the
outcome is known:

- *label horizon*: everything from t1 on (of the bar at t1 all but its open) is cut off or poisoned; the label must not change;
- *label decision*: columns said to be known at the decision must not change when anything after the decision does;
- *label past*: bars before the decision (or up to it) are poisoned; the outcome must not change. It sees an entry at a price of the past.

Cannot see: volatility or other inputs that were wrong before they came in (probe those as features), or an unrealistic entry at a price
after the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pandas as pd

from alphatrade_pipelines.leaks.compare import Findings, quiet, times
from alphatrade_pipelines.leaks.poison import STRUCTURES, VALUES, futures, garbled
from alphatrade_pipelines.leaks.report import Report
from alphatrade_pipelines.leaks.world import World, check_cuts, choose_cuts

# (bars, volatility on their index) -> labels on (symbol, timestamp of the decision) with a column t1
Label = Callable[[pd.DataFrame, pd.Series], pd.DataFrame]


def probe_labels(
    label: Label,
    bars: pd.DataFrame,
    volatility: pd.Series,
    *,
    name: str = "labels",
    decided: tuple[str, ...] = (),
    uses_decision_bar: bool = True,
    cuts: int | Iterable[pd.Timestamp] = 3,
    thorough: bool = True,
    until_found: bool = False,
) -> Report:
    """Probe a labelling function; see the module.

    Args:
        bars: forward-adjusted bars.
        volatility: on their index, known at each close; from a cut on it is replaced like the bars.
        decided: columns known at the decision's close (the distance of the stop, say).
        until_found: stop at the first alarm.
        uses_decision_bar: the outcome may depend on the decision's own bar (barriers are placed from its close).
    """
    world = World(bars)
    chosen = choose_cuts(world, cuts) if isinstance(cuts, int) else check_cuts(world, cuts)
    findings = Findings(name)
    with quiet():
        full = label(bars, volatility)
    for cut in chosen:
        resolved, made = full[np.asarray(full["t1"] <= cut)], full[times(full) < cut][list(decided)]
        for probe, other in futures(world, cut, "open", thorough, drifts=True):
            found = findings.attempt(partial(label, other.bars, _until(volatility, other.bars.index, cut)), probe, cut)
            if found is None:
                continue
            shorter = probe == "truncation" or probe.removeprefix("poison ") in STRUCTURES
            known = found[found.index.isin(resolved.index)]
            findings.compare(resolved, known, "label horizon", cut, may_vanish=shorter)
            if decided:
                findings.compare(made, found[times(found) < cut][list(decided)], "label decision", cut, may_vanish=True)
            if until_found and findings.alarms:
                return findings.report
        _probe_past(findings, label, world, volatility, full, cut, uses_decision_bar, decided)
    return findings.report


def _until(volatility: pd.Series, index: pd.Index, cut: pd.Timestamp) -> pd.Series:
    """True volatility before ``cut``, another from there on: it is known at the close of its bar."""
    true = volatility.reindex(index)
    return true.where(np.asarray(index.get_level_values("timestamp") < cut), true * 7.0)


def _probe_past(
    findings: Findings,
    label: Label,
    world: World,
    volatility: pd.Series,
    full: pd.DataFrame,
    cut: pd.Timestamp,
    uses_decision_bar: bool,
    decided: tuple[str, ...],
) -> None:
    past = np.asarray(world.stamps < cut if uses_decision_bar else world.stamps <= cut)
    for flavour in ("wild", "flat"):
        other = garbled(world.bars, past, past & False, VALUES[flavour])
        found = findings.attempt(partial(label, other, volatility), f"label past {flavour}", cut)
        if found is not None:
            rest = full[times(full) == cut].drop(columns=list(decided))
            findings.compare(rest, found[times(found) == cut][list(rest.columns)], "label past", cut)
