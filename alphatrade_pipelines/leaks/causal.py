"""Does a value at t know anything after t? For everything that is computed from bars: features, events, positions, predictions, weights.

Can see: any use of later bars, symbols, splits or universe dates that changes a bit in one of the futures tried. Cannot see: knowledge that
is in the bars already (a vendor's adjusted column, a list of survivors: :mod:`data`), in constants in the code, or in a state that was
fitted on the future and is only applied here (:mod:`isolation`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import pandas as pd

from alphatrade_pipelines.leaks.compare import Findings, as_frame, quiet, times
from alphatrade_pipelines.leaks.poison import futures
from alphatrade_pipelines.leaks.report import Report
from alphatrade_pipelines.leaks.world import Compute, Moment, World, check_cuts, choose_cuts


def probe_causal(
    compute: Compute,
    world: World,
    *,
    name: str = "subject",
    moment: Moment = "close",
    cuts: int | Iterable[pd.Timestamp] = 3,
    thorough: bool = True,
    until_found: bool = False,
) -> Report:
    """Compute once on the true world and once in every other future of each cut; rows up to the cut must be equal to the bit.

    Args:
        compute: world -> values on (symbol, timestamp), or an index of events.
        moment: when a row's value is decided, at its bar's "close" or its "open". At the open, the bar's own high, low, close and volume
            are future.
        cuts: time stamps, or how many to choose.
        thorough: all sorts of garbage, or a short selection.
        until_found: stop at the first alarm; whether there is one is all that is wanted.

    Raises:
        LeakProbeError: a cut without bars on both sides, an output without time stamps, or nothing to compare anywhere.
    """
    chosen = choose_cuts(world, cuts) if isinstance(cuts, int) else check_cuts(world, cuts)
    findings = Findings(name)
    with quiet():
        full = as_frame(compute(world))
    for cut in chosen:
        expected = full[times(full) <= cut]
        for probe, other in futures(world, cut, moment, thorough):
            found = findings.attempt(partial(compute, other), probe, cut)
            if found is not None:
                findings.compare(expected, found[times(found) <= cut], "same bar" if moment == "open" else probe, cut)
            if until_found and findings.alarms:
                return findings.report
    return findings.report
