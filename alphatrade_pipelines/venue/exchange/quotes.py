"""What the venue knows of each symbol at this moment, and how it moves along the tape."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from alphatrade_pipelines.venue.exchange import fills
from alphatrade_pipelines.venue.exchange.profiles import FillProfile
from alphatrade_pipelines.venue.exchange.tape import BarTape, Point, TapeBar

# a stretch of a bar begins at each of these parts of its time; a price point owns the volume up to the next
_STRETCHES = (0.0, 0.2, 0.5, 0.8, 1.0)


@dataclass(slots=True)
class Quote:
    """What the venue knows of a symbol at this moment: the last ``price`` and the bar being walked. ``live`` = a price is printing, so an
    arriving order may trade at once; at the close of a bar it is not, so that nothing trades on the close it was decided on."""

    symbol: str
    key: int
    price: float = math.nan
    previous_close: float = math.nan
    bar: int = 0
    low: float = math.nan
    high: float = math.nan
    volume: float = 0.0
    volatility: float = math.nan
    average_volume: float = 0.0
    share: float = 0.0
    taken: float = 0.0
    live: bool = False


def money(price: float) -> Decimal:
    """A float price as Decimal, at most four decimals, at least two."""
    text = f"{price:.4f}"
    return Decimal(text[:-2] if text.endswith("00") else text)


class Prices:
    """The quotes of all symbols of a tape, from ``now`` on."""

    def __init__(self, tape: BarTape, profile: FillProfile, now: datetime) -> None:
        self.tape = tape
        self.profile = profile
        self.quotes = {symbol: self._first_quote(symbol, now) for symbol in tape.symbols}
        self._shares = _volume_shares(profile)
        self._low_first: dict[str, bool] = {}

    def _first_quote(self, symbol: str, now: datetime) -> Quote:
        quote = Quote(symbol, fills.stable_key(symbol))
        series = self.tape.series[symbol]
        known = series.known(now)
        if known:
            quote.price = quote.previous_close = series.close[known - 1]
        return quote

    def last(self) -> dict[str, Decimal]:
        """Last price of every symbol that has one."""
        return {symbol: money(quote.price) for symbol, quote in self.quotes.items() if not math.isnan(quote.price)}

    def half_spread(self, price: Decimal) -> Decimal:
        """Half the spread the profile quotes at ``price``, in dollars."""
        p = self.profile
        return money(fills.half_spread(float(price), p.half_spread_bps, p.spread_multiplier, p.minimum_half_spread))

    def split(self, symbol: str, ratio: float) -> None:
        """Restate what is remembered of a symbol on the morning of its split."""
        quote = self.quotes[symbol]
        quote.price /= ratio
        quote.previous_close /= ratio

    def walk(self, point: Point, held: Callable[[str], Decimal], meet: Callable[[Quote, float, float, bool], None]) -> tuple[TapeBar, ...]:
        """Move every price to ``point`` and let the orders ``meet`` the stretch; the bars that became known. ``held``: the position."""
        assert point.bar is not None
        for symbol, quote in self.quotes.items():
            series = self.tape.series[symbol]
            position = series.index.get(point.bar)
            if position is None:
                continue
            low, high = series.low[position], series.high[position]
            if point.phase == 0:
                quote.bar, quote.low, quote.high, quote.volume = point.bar, low, high, series.volume[position]
                quote.volatility, quote.average_volume = series.volatility[position], series.average_volume[position]
                end = series.open[position]
            elif point.phase == 3:
                end = series.close[position]
            else:
                if point.phase == 1:
                    mode = fills.PATH_MODES[self.profile.path]
                    self._low_first[symbol] = fills.low_comes_first(float(held(symbol)), series.open[position], high, low, mode)
                end = low if self._low_first[symbol] == (point.phase == 1) else high
            start = end if point.phase == 0 else quote.price
            quote.price, quote.share, quote.taken, quote.live = end, self._shares[point.phase], 0.0, point.phase < 3
            meet(quote, start, end, point.phase == 0)
        return tuple(self.tape.bars_ending(point.bar)) if point.phase == 3 else ()

    def close_session(self) -> None:
        """No price prints until the next open."""
        for quote in self.quotes.values():
            quote.live = False
            quote.previous_close = quote.price


def _volume_shares(profile: FillProfile) -> tuple[float, ...]:
    cumulated = [fills.volume_fraction(part, profile.early_volume_share) for part in _STRETCHES]
    return tuple(after - before for before, after in pairwise(cumulated))
