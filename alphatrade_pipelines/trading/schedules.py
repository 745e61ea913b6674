"""How a parent order is cut: weights over its life, whole shares that add up to it, and how much is due now. Pure arithmetic.

``twap``: the same in each slice. ``vwap``: what the market usually trades in each slice. ``shortfall``: the optimal trajectory of Almgren
and Chriss (2000), early for the risk averse. These three know their slices beforehand; ``participation_due`` follows the volume that
really came (POV). Times are fractions of the parent's life; quantities are whole shares as ``Decimal``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from itertools import pairwise

ZERO = Decimal(0)
SLACK = Decimal("0.000001")  # of a lot: the last bits of binary fractions must not decide about a share


@dataclass(frozen=True, slots=True)
class Trajectory:
    """An Almgren-Chriss liquidation: shares left after each of the equal intervals (the first entry is the parent, the last 0).

    ``expected_cost`` in currency against the arrival price, ``variance`` in currency squared. ``kappa`` per unit of time; negative aversion
    gives trajectories in ``sin``, whose ``kappa`` is the frequency.
    """

    kappa: float
    holdings: tuple[float, ...]
    expected_cost: float
    variance: float

    @property
    def trades(self) -> tuple[float, ...]:
        """Shares traded in each interval."""
        return tuple(before - after for before, after in pairwise(self.holdings))


@dataclass(frozen=True, slots=True)
class AlmgrenChriss:
    """The problem of Almgren and Chriss (2000) in their own units.

    ``volatility`` currency per share and root of a unit of time; ``fixed_cost`` (epsilon) currency per share; ``permanent`` (gamma)
    currency per share and share; ``temporary`` (eta) currency per share and share per unit of time; ``risk_aversion`` (lambda) per
    currency.
    """

    shares: float
    time: float
    intervals: int
    volatility: float
    fixed_cost: float
    permanent: float
    temporary: float
    risk_aversion: float

    def __post_init__(self) -> None:
        if self.intervals < 1 or not self.time > 0.0:
            raise ValueError(f"Expected at least one interval and time above 0, was {self.intervals} in {self.time!r}")
        if not self.effective_temporary > 0.0:
            raise ValueError(
                f"Expected temporary > permanent * interval / 2, was {self.temporary!r} with permanent {self.permanent!r} and "
                f"intervals of {self.interval!r}: trade in shorter intervals"
            )

    @property
    def interval(self) -> float:
        """tau, the length of one interval."""
        return self.time / self.intervals

    @property
    def effective_temporary(self) -> float:
        """eta~ = eta - gamma tau / 2: half of the permanent impact of an interval is paid within it."""
        return self.temporary - self.permanent * self.interval / 2.0

    def solve(self) -> Trajectory:
        """The trajectory that minimises cost + aversion * variance. Raises ValueError when aversion is so negative that none exists."""
        half = self.risk_aversion * self.volatility**2 / self.effective_temporary * self.interval**2 / 2.0  # cosh(kappa tau) - 1
        if half >= 0.0:
            angle = math.log1p(half + math.sqrt(half * (half + 2.0)))
            shares = hyperbolic_holdings(angle * self.intervals, self.intervals)
        else:
            angle = 2.0 * math.asin(math.sqrt(min(-half / 2.0, 1.0)))
            if angle * self.intervals >= math.pi:
                raise ValueError(
                    f"Expected kappa T below pi, was {angle * self.intervals:.4f}: the aversion {self.risk_aversion!r} is too low"
                )
            shares = tuple(math.sin(angle * (self.intervals - j)) / math.sin(angle * self.intervals) for j in range(self.intervals + 1))
        return self.cost_of(tuple(self.shares * share for share in shares), angle / self.interval)

    def cost_of(self, holdings: tuple[float, ...], kappa: float = math.nan) -> Trajectory:
        """Expected cost and variance of any trajectory from all shares to none."""
        trades = [before - after for before, after in pairwise(holdings)]
        cost = self.permanent * self.shares**2 / 2.0 + self.fixed_cost * math.fsum(abs(n) for n in trades)
        cost += self.effective_temporary / self.interval * math.fsum(n * n for n in trades)
        variance = self.volatility**2 * self.interval * math.fsum(x * x for x in holdings[1:])
        return Trajectory(kappa, holdings, cost, variance)


def hyperbolic_holdings(urgency: float, intervals: int) -> tuple[float, ...]:
    """Share of the parent left after each interval, ``sinh(urgency (1 - t)) / sinh(urgency)``; urgency is kappa T, 0 falls evenly."""
    return tuple(_left(urgency, j / intervals) for j in range(intervals + 1))


def _left(urgency: float, elapsed: float) -> float:
    """sinh(u (1 - t)) / sinh(u), without overflow for any u >= 0."""
    if elapsed >= 1.0:
        return 0.0
    if urgency < 1e-6:
        return 1.0 - elapsed
    rest = 1.0 - elapsed
    return math.exp(-urgency * elapsed) * math.expm1(-2.0 * urgency * rest) / math.expm1(-2.0 * urgency)


def twap_weights(slices: int) -> tuple[float, ...]:
    """Equal weights."""
    return (1.0 / _count(slices),) * slices


def vwap_weights(curve: Sequence[float], start: float, end: float, slices: int) -> tuple[float, ...]:
    """Weights in proportion to what the curve expects in each of ``slices`` equal spans of the session from ``start`` to ``end``.

    ``curve`` holds the volume of equal parts of the session, ``start`` and ``end`` are fractions of it: a half day uses the curve of a
    whole one, run through faster. Volume is spread evenly within a part; where none is expected at all the weights are equal. Raises
    ValueError for a span that is not a forward one within the session, or a curve with negative or non-finite entries.
    """
    if not 0.0 <= start < end <= 1.0:
        raise ValueError(f"Expected 0 <= start < end <= 1 as fractions of the session, was {start!r} to {end!r}")
    if not all(math.isfinite(share) and share >= 0.0 for share in curve):
        raise ValueError(f"Expected finite shares of volume of at least 0, was {tuple(curve)!r}")
    edges = [start + (end - start) * j / _count(slices) for j in range(slices + 1)]
    passed = [_volume_until(curve, edge) for edge in edges]
    total = passed[-1] - passed[0]
    if total <= 0.0:
        return twap_weights(slices)
    return tuple((after - before) / total for before, after in pairwise(passed))


def shortfall_weights(urgency: float, slices: int) -> tuple[float, ...]:
    """Weights of the Almgren-Chriss trajectory with ``kappa T = urgency`` >= 0."""
    if not (math.isfinite(urgency) and urgency >= 0.0):
        raise ValueError(f"Expected an urgency of at least 0, was {urgency!r}")
    left = hyperbolic_holdings(urgency, _count(slices))
    return tuple(before - after for before, after in pairwise(left))


def cumulative_shares(
    qty: Decimal, weights: Sequence[float], lot: Decimal = Decimal(1), smallest: Decimal = Decimal(1)
) -> tuple[Decimal, ...]:
    """Shares that should be done after each slice: whole lots, never falling, the last entry exactly ``qty``.

    The exact path is rounded down to lots; a step below ``smallest`` waits for the next one, and a remainder below it is joined to the
    slice before, so that no slice is too small unless the parent is. The last slice may be an odd lot. Raises ValueError for anything but
    whole shares above 0, and for weights that are not a partition.
    """
    _check_parent(qty, lot, smallest)
    total = math.fsum(weights)
    if not weights or not all(math.isfinite(weight) and weight >= 0.0 for weight in weights) or not total > 0.0:
        raise ValueError(f"Expected finite weights of at least 0 with a positive sum, was {tuple(weights)!r}")
    path, done = list[Decimal](), ZERO
    for k in range(1, len(weights)):
        exact = qty * Decimal(repr(round(math.fsum(weights[:k]) / total, 12)))
        target = min((exact / lot + SLACK).to_integral_value(ROUND_FLOOR) * lot, qty)
        if target - done >= smallest and (qty - target >= smallest or qty == target):
            done = target
        path.append(done)
    return (*path, qty)


def scheduled_due(path: Sequence[Decimal], slices_begun: int, done: Decimal, catch_up: Decimal) -> Decimal:
    """Shares to send now, when ``slices_begun`` slices of the cumulative ``path`` have begun and ``done`` are bought or on their way.

    What earlier slices left is caught up, but no slice is larger than ``catch_up`` times the largest planned one until the last slice,
    which finishes. Never negative, never beyond the parent.
    """
    if slices_begun <= 0:
        return ZERO
    target = path[min(slices_begun, len(path)) - 1]
    due = max(target - done, ZERO)
    if slices_begun >= len(path):
        return due
    largest = max(after - before for before, after in pairwise((ZERO, *path)))
    return min(due, (largest * catch_up).to_integral_value(ROUND_FLOOR))


@dataclass(frozen=True, slots=True)
class ParticipationRule:
    """POV: follow ``rate`` of the volume seen, never take more than ``cap`` of it; ``catch_up`` bounds a late slice in normal slices."""

    rate: Decimal
    cap: Decimal
    catch_up: Decimal = Decimal(2)

    def __post_init__(self) -> None:
        if not ZERO < self.rate <= self.cap <= 1:
            raise ValueError(f"Expected 0 < rate <= cap <= 1, was rate {self.rate} and cap {self.cap}")
        if self.catch_up < 1:
            raise ValueError(f"Expected catch_up of at least 1 normal slice, was {self.catch_up}")


def participation_due(
    qty: Decimal,
    done: Decimal,
    volume: Decimal,
    fresh_volume: Decimal,
    rule: ParticipationRule,
    lot: Decimal = Decimal(1),
    smallest: Decimal = Decimal(1),
) -> Decimal:
    """Shares to send now, given ``volume`` seen since the parent began, of which ``fresh_volume`` since the slice before.

    The aim is ``rate * volume``; a gap left earlier closes by at most ``catch_up`` normal slices (``rate * fresh_volume``) at a time.
    Whatever happens, ``done`` plus the answer stays within ``cap * volume`` (or nothing is sent) and within the parent. Less than
    ``smallest`` waits, except for the parent's last shares.
    """
    _check_parent(qty, lot, smallest)
    left = qty - done
    aim = min(rule.rate * volume - done, rule.rate * fresh_volume * rule.catch_up, rule.cap * volume - done, left)
    shares = (aim / lot).to_integral_value(ROUND_FLOOR) * lot
    if aim >= left > shares:
        shares = left  # the last, odd lot
    if 0 < left - shares < smallest:  # what would be left is too small to be sent alone: leave it a whole slice
        shares = ((left - smallest) / lot).to_integral_value(ROUND_FLOOR) * lot
    return shares if shares >= smallest or ZERO < shares == left else ZERO


def _volume_until(curve: Sequence[float], fraction: float) -> float:
    place = fraction * len(curve)
    whole = min(int(place), len(curve))
    part = curve[whole] * (place - whole) if whole < len(curve) else 0.0
    return math.fsum(curve[:whole]) + part


def _count(slices: int) -> int:
    if slices < 1:
        raise ValueError(f"Expected at least one slice, was {slices!r}")
    return slices


def _check_parent(qty: Decimal, lot: Decimal, smallest: Decimal) -> None:
    if qty <= 0 or qty != qty.to_integral_value():
        raise ValueError(f"Expected a parent of whole shares above 0, was {qty}: fractions of a share cannot be protected at the broker")
    if lot < 1 or lot != lot.to_integral_value() or smallest < 1 or smallest != smallest.to_integral_value():
        raise ValueError(f"Expected lot and smallest slice of whole shares, at least 1, was {lot} and {smallest}")
