"""What fills, at what price, how much: scalar kernels, compiled once, shared by the venue and the backtest.

Prices are floats in dollars, ``side`` is +1 for a buy and -1 for a sell, NaN means "does not trade". A bar is walked along a path (see
``path``): between two points the price moves continuously; at the open it *jumps*, so whatever was passed over trades at the open: a
gap through a stop fills at the gap.

Sources: square-root impact, Almgren et al. (2005), Toth et al. (2011); place in the queue and trade-through, Moallemi & Yuan (2016);
what happens to a resting order after its fill, Glosten & Milgrom (1985); spread proportional to volatility, Wyart et al. (2008).
Draws are counter-based (SplitMix64 over the key), so the fate of an order does not depend on what else was asked before.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Any

import numpy as np

from alphatrade_pipelines.market.jit import kernel

REJECTION, QUEUE, ADVERSE, PARTIAL = 1, 2, 3, 4  # purposes of a draw: draws for one order and bar but different purposes are independent
OPEN_HALF_LIFE_MINUTES = 15.0  # the wider spread of the open decays by half in so long


def stable_key(text: str) -> int:
    """A 63-bit key of a text, the same in every process (Python's ``hash`` is salted)."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@kernel
def _mix(state: Any) -> Any:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@kernel
def uniform_draw(seed: int, symbol_key: int, bar_time: int, order_key: int, purpose: int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments (SplitMix64, Steele et al. 2014, chained over the key)."""
    state = _mix(np.uint64(seed))
    state = _mix(state ^ np.uint64(symbol_key))
    state = _mix(state ^ np.uint64(bar_time))
    state = _mix(state ^ np.uint64(order_key))
    state = _mix(state ^ np.uint64(purpose))
    return float(state >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@kernel
def tick_size(price: float) -> float:
    """Smallest price step: a cent from one dollar on, a hundredth of a cent below (Rule 612)."""
    return 0.01 if price >= 1.0 else 0.0001


@kernel
def volume_fraction(elapsed: float, early_share: float) -> float:
    """Part of a bar's volume traded when ``elapsed`` (0 to 1) of its time has passed: elapsed**a, with a such that
    ``volume_fraction(0.2, early_share) == early_share`` (40 % of a 15-min bar's volume in its first 3 minutes)."""
    if elapsed <= 0.0:
        return 0.0
    if elapsed >= 1.0 or early_share >= 1.0:
        return 1.0
    if early_share <= 0.0:
        return 0.0
    return float(elapsed ** (math.log(early_share) / math.log(0.2)))


@kernel
def shares_available(volume: float, begin: float, end: float, participation: float, taken: float) -> float:
    """Whole shares this account may still take out of a stretch of the bar's ``volume``: the one from the cumulated share ``begin`` to
    ``end``. However finely a bar is cut, its stretches add up to floor(volume * participation), but to one share of a bar that traded:
    thin minutes would fill nothing for ever."""
    if not (volume > 0.0 and participation > 0.0):
        return 0.0
    ours = max(volume * participation, min(volume, 1.0))
    return max(0.0, math.floor(ours * end + 1e-9) - math.floor(ours * begin + 1e-9) - taken)


@kernel
def random_part(quantity: float, chance: float, draw: float) -> float:
    """With probability ``chance`` a whole number of shares between 1 and ``quantity``, evenly; else all of it (Alpaca's paper fills)."""
    if draw >= chance or quantity <= 1.0:
        return quantity
    return 1.0 + math.floor(draw / chance * quantity)


@kernel
def spread_widening(minutes: float, relative_volatility: float, regular: bool, at_open: float, volatile: float, extended: float) -> float:
    """Factor by which the spread is wider than usual, between 1 and ``max(at_open, extended) * volatile``.

    ``at_open`` at the opening bell, half of the excess gone every 15 ``minutes``; ``extended`` outside regular hours; proportional to
    ``relative_volatility`` (lagged volatility over that of a stock with 2 % a day) from 1 up to ``volatile``.
    """
    factor = 1.0 + (at_open - 1.0) * 0.5 ** (max(minutes, 0.0) / OPEN_HALF_LIFE_MINUTES) if regular else extended
    if relative_volatility > 1.0:
        factor *= min(relative_volatility, volatile)
    return factor


@kernel
def half_spread(price: float, bps: float, multiplier: float, minimum: float) -> float:
    """Half the quoted spread in dollars, widened by ``multiplier``."""
    return max(price * bps * 1e-4 * multiplier, minimum * multiplier)


@kernel
def square_root_impact(price: float, quantity: float, volatility: float, volume: float, coefficient: float) -> float:
    """Impact in dollars: price * Y * volatility * sqrt(quantity / volume), with volatility and volume of the same period, lagged."""
    if coefficient <= 0.0 or not volume > 0.0 or not volatility > 0.0:
        return 0.0
    return price * coefficient * volatility * math.sqrt(quantity / volume)


@kernel
def adverse_move(price: float, volatility: float, latency_seconds: float, bar_seconds: float, fraction: float) -> float:
    """What the market runs away while the order travels, in dollars: ``fraction`` of one sigma over the latency."""
    if not volatility > 0.0 or bar_seconds <= 0.0:
        return 0.0
    return price * fraction * volatility * math.sqrt(latency_seconds / bar_seconds)


@kernel
def taker_price(side: int, reference: float, cost: float, low: float, high: float, bound: float) -> float:
    """Execution price of an order that takes liquidity: reference plus cost against the order, rounded to the tick against the order,
    clamped to the bar's [low, high] and never beyond ``bound`` (a limit price; NaN for none)."""
    tick = tick_size(reference)
    price = reference + side * cost
    steps = price / tick
    price = (math.ceil(steps - 1e-6) if side > 0 else math.floor(steps + 1e-6)) * tick
    price = min(max(price, low), high)
    if not math.isnan(bound) and side * (price - bound) > 0.0:
        price = bound
    return float(round(price * 10000.0)) / 10000.0


@kernel
def stop_reference(side: int, stop: float, start: float, end: float, jump: bool) -> float:
    """Price at which a stop is elected while price goes from ``start`` to ``end``, NaN if it is not.

    A jump over the stop elects it at ``end`` (gap); otherwise at the stop itself, or at ``start`` if price was already beyond it.
    """
    if side * (end - stop) < 0.0 and side * (start - stop) < 0.0:
        return math.nan
    if jump:
        return end if side * (end - stop) >= 0.0 else math.nan
    if side * (start - stop) >= 0.0:
        return start
    return stop


@kernel
def marketable(side: int, limit: float, price: float, half: float) -> bool:
    """Does the limit reach the other side's quote, ``half`` a spread from ``price``. Inside the spread it rests, first in its queue."""
    return side * (limit - price) >= half - 1e-9


@kernel
def traded_through(side: int, limit: float, start: float, end: float, through: float) -> bool:
    """Has price, on its way from ``start`` to ``end``, gone ``through`` dollars beyond the limit (0: a touch counts)."""
    return max(side * (limit - start), side * (limit - end)) >= through - 1e-9


@kernel
def queue_ahead(draw: float, mean_minutes: float, minute_volume: float) -> float:
    """Shares ahead of an order that joins a price level: uniform between none and twice ``mean_minutes`` of usual volume."""
    return 2.0 * draw * mean_minutes * max(minute_volume, 0.0)


@kernel
def volume_at_price(volume: float, share: float, limit: float, start: float, end: float) -> float:
    """Shares that trade AT ``limit`` while price goes from ``start`` to ``end``: the stretch's volume, evenly over the ticks it passes."""
    if not volume > 0.0 or (limit - start) * (limit - end) > 1e-9:
        return 0.0
    return volume * share / (math.floor(abs(end - start) / tick_size(limit) + 1e-6) + 1.0)


@kernel
def fill_denied(side: int, limit: float, close: float, probability: float, draw: float) -> bool:
    """Adverse selection: an order touched but not traded through misses ``probability`` of the fills after which the bar ends in its
    favour. It never misses one after which price goes on against it. (The close is looked at to the order's cost only.)"""
    return side * (close - limit) > 1e-9 and draw < probability


@kernel
def markout(side: int, price: float, later: float) -> float:
    """What a fill at ``price`` has earned when price is ``later``, in dollars a share; negative = adversely selected."""
    return side * (later - price)


@kernel
def low_comes_first(position: float, open_: float, high: float, low: float, mode: int) -> bool:
    """Order of the extremes inside a bar. ``mode`` 0: the one adverse to the open position first (flat: as 1); 1: the one nearer to
    the open first; 2: the favourable one first (flat: as 1)."""
    if mode == 0 and position != 0.0:
        return position > 0.0
    if mode == 2 and position != 0.0:
        return position < 0.0
    return open_ - low <= high - open_


PATH_MODES = {"adverse_first": 0, "nearest_first": 1, "favourable_first": 2}
