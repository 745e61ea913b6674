"""Other futures: the same past, with everything after a moment cut off or replaced by garbage of several sorts.

At the moment "close" of bar t, bars up to t are known. At its "open", of bar t itself only the open, split and dividend are.
Values: ``wild`` (valid but absurd prices, volumes), ``huge`` (1e200), ``nan``, ``inf``, ``flat`` (one price, no volume), ``actions`` (true
prices, invented splits and dividends); for labels also ``rise`` and ``fall`` (2 % a bar: garbage breaks every trend, these make one
last). Structure: ``holes`` (every other bar missing), ``deaths`` (half of the symbols end), ``newcomers``
(a symbol begins). Nothing here is random: a finding can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.leaks.world import BoolArray, Moment, World

FloatArray = npt.NDArray[np.float64]
Columns = dict[str, FloatArray]
_SEED = 20_181
NEWCOMER = "NEWCOMER"
PRICES = ("open", "high", "low", "close")
_STANDARD = (*PRICES, "volume", "split", "dividend")


def futures(
    world: World, cut: pd.Timestamp, moment: Moment = "close", thorough: bool = True, drifts: bool = False
) -> Iterator[tuple[str, World]]:
    """(probe, world) for each other future of ``cut``. Without ``thorough`` only truncation, wild, huge, actions and deaths; with
    ``drifts`` also rise and fall."""
    stamps = world.stamps
    hidden, half = np.asarray(stamps > cut), np.asarray((stamps == cut) & (moment == "open"))
    yield "truncation", world.with_bars(_flat_after_open(world.bars, half)[~hidden], cut)
    for name, garble in VALUES.items():
        if thorough or name in ("wild", "huge", "actions"):
            yield f"poison {name}", world.with_bars(garbled(world.bars, hidden, half, garble), cut)
    for name, step in DRIFTS.items() if drifts else ():
        yield f"poison {name}", world.with_bars(_drifting(world.bars, hidden, half, step), cut)
    base = garbled(world.bars, hidden & False, half, _wild)
    for name, restructure in STRUCTURES.items():
        if thorough or name == "deaths":
            yield f"poison {name}", world.with_bars(restructure(base, hidden), cut)


def garbled(bars: pd.DataFrame, hidden: BoolArray, half: BoolArray, garble: Callable[[Columns], Columns]) -> pd.DataFrame:
    """``bars`` with garbage in the ``hidden`` rows, and in high, low, close and volume of the ``half`` rows."""
    columns = {name: bars[name].to_numpy(dtype=np.float64, copy=True) for name in bars.columns}
    for mask, kept in ((hidden, ()), (half, ("open", "split", "dividend"))):
        rows = np.flatnonzero(mask)
        if not len(rows):
            continue
        known = {name: values[rows] for name, values in columns.items()}
        others = {name: values * 3.7 + 1.0 for name, values in known.items() if name not in _STANDARD}  # an average price, a count
        bad = known | others | garble(known)
        if kept:  # bars remain valid: the range includes the open that is known
            bad["high"], bad["low"] = np.fmax(bad["high"], columns["open"][rows]), np.fmin(bad["low"], columns["open"][rows])
        for name, values in bad.items():
            if name not in kept and name in columns:
                columns[name][rows] = values
    return pd.DataFrame(columns, index=bars.index)


def _wild(known: Columns) -> Columns:
    draw = np.random.default_rng(_SEED)
    size = len(known["close"])
    level = known["close"] * np.exp(draw.uniform(-7.0, 7.0, size))
    spread = 1.0 + draw.uniform(0.01, 0.5, size)
    prices = {"open": level, "close": level * np.sqrt(spread), "high": level * spread, "low": level / spread}
    splits = {"split": draw.choice([0.2, 1.0, 7.0], size), "dividend": np.zeros(size)}
    # volumes grow along the rows, so that symbols, which stand one after another, change their order of size
    return prices | splits | {"volume": np.geomspace(1.0, 1e12, size) * draw.uniform(0.5, 2.0, size)}


def _all(value: float) -> Callable[[Columns], Columns]:
    def fill(known: Columns) -> Columns:
        size = len(known["close"])
        actions = {"split": np.full(size, value if np.isnan(value) else 1.0), "dividend": np.full(size, value if np.isnan(value) else 0.0)}
        return {name: np.full(size, value) for name in (*PRICES, "volume")} | actions

    return fill


def _flat(known: Columns) -> Columns:
    return _all(float(known["close"][0]))(known) | {"volume": np.zeros(len(known["close"]))}


def _actions(known: Columns) -> Columns:
    odd = np.arange(len(known["close"]))
    return {"split": np.where(odd % 7 == 3, 3.0, np.where(odd % 11 == 5, 0.25, 1.0)), "dividend": 0.002 * known["low"] * (odd % 5 == 1)}


def _drifting(bars: pd.DataFrame, hidden: BoolArray, half: BoolArray, step: float) -> pd.DataFrame:
    """The true bars on a slope that begins at the cut, so much a bar; opens of the ``half`` rows stay."""
    age = pd.Series(hidden | half, index=bars.index).groupby(level="symbol", sort=False).cumsum().to_numpy()
    slope = np.exp(step * age)
    other = {name: bars[name].to_numpy(dtype=np.float64) * slope for name in PRICES}
    other["open"][half] = bars["open"].to_numpy(dtype=np.float64)[half]
    other["high"], other["low"] = np.fmax(other["high"], other["open"]), np.fmin(other["low"], other["open"])
    return bars.assign(**other, volume=np.where(age > 0, bars["volume"] * 2.0 + 1.0, bars["volume"]))


DRIFTS = {"rise": 0.02, "fall": -0.02}
VALUES: dict[str, Callable[[Columns], Columns]] = {
    "wild": _wild,
    "huge": _all(1e200),
    "nan": _all(float("nan")),
    "inf": _all(float("inf")),
    "flat": _flat,
    "actions": _actions,
}


def _holes(bars: pd.DataFrame, hidden: BoolArray) -> pd.DataFrame:
    kept: pd.DataFrame = bars[~hidden | (np.arange(len(bars)) % 2 == 0)]
    return kept


def _deaths(bars: pd.DataFrame, hidden: BoolArray) -> pd.DataFrame:
    """Every other symbol ends, the first among them: one symbol alone must end too."""
    symbols = bars.index.get_level_values("symbol")
    kept: pd.DataFrame = bars[~hidden | ~np.asarray(symbols.isin(symbols.unique()[::2]))]
    return kept


def _newcomers(bars: pd.DataFrame, hidden: BoolArray) -> pd.DataFrame:
    symbols = bars.index.get_level_values("symbol")
    model = bars[hidden & np.asarray(symbols == symbols[int(np.argmax(hidden))])]
    stamps = model.index.get_level_values("timestamp")
    born = model.set_axis(pd.MultiIndex.from_product([[NEWCOMER], stamps], names=["symbol", "timestamp"]), axis=0)
    both: pd.DataFrame = pd.concat([bars, born]).sort_index()
    return both


STRUCTURES: dict[str, Callable[[pd.DataFrame, BoolArray], pd.DataFrame]] = {"holes": _holes, "deaths": _deaths, "newcomers": _newcomers}


def _flat_after_open(bars: pd.DataFrame, half: BoolArray) -> pd.DataFrame:
    if not half.any():
        return bars
    known = {name: bars[name].where(~half, bars["open"]) for name in ("high", "low", "close")}
    return bars.assign(**known, volume=bars["volume"].where(~half, 0.0))
