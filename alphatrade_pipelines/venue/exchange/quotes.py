"""What the venue knows of each symbol at this moment, and how it moves along the tape."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import numpy as np

from alphatrade_pipelines.venue.exchange import fills
from alphatrade_pipelines.venue.exchange.path import ANCHORS, bar_path, check_points, volume_shares, whole_sizes
from alphatrade_pipelines.venue.exchange.profiles import FillProfile
from alphatrade_pipelines.venue.exchange.tape import EXTENDED_KINDS, BarTape, Point, TapeBar

_DEPTH = 2000  # purpose of the draws of quoted sizes
_SHOWN_MINUTES = 0.5  # usual size of a quote, in minutes of volume, where the profile has no queues


@dataclass(slots=True)
class Quote:
    """What the venue knows of a symbol at this moment: the last ``price`` and the bar being walked.

    ``live``: a price is printing, so an arriving order may trade at once; at the close of a bar it is not, so that nothing trades on the
    close it was decided on. ``regular``: inside regular hours. ``opening``: this print opens trading (the first of a session or after a
    halt). ``halted`` and ``volume_scale`` are levers: no print while halted, and the volume is multiplied. ``begin`` and ``end``: the
    cumulated shares of the bar's volume between which this stretch lies; ``taken``: what we took of it. ``widening``: of the spread.
    ``step_seconds``: time between two points. ``close`` and ``bar_end`` lie ahead: only costs and records may look at them.
    """

    symbol: str
    key: int
    price: float = math.nan
    previous_close: float = math.nan
    bar: int = 0
    low: float = math.nan
    high: float = math.nan
    close: float = math.nan
    bar_end: int = 0
    volume: float = 0.0
    volatility: float = math.nan
    average_volume: float = 0.0
    minute_volume: float = 0.0
    begin: float = 0.0
    end: float = 0.0
    taken: float = 0.0
    widening: float = 1.0
    step_seconds: float = 0.0
    live: bool = False
    regular: bool = True
    opening: bool = False
    halted: bool = False
    volume_scale: float = 1.0
    path: list[float] = field(default_factory=list)
    session: int = -1
    resumes: bool = False

    @property
    def flow(self) -> float:
        """Volume of the bar as it really trades: the tape's times the lever."""
        return self.volume * self.volume_scale


@dataclass(frozen=True, slots=True)
class Print:
    """A trade of ``size`` shares at ``price`` dollars and the quote around it, sizes in shares. ``conditions`` in the codes of the tape:
    ``@`` regular sale, ``O`` opening print, ``6`` closing print, ``T`` outside regular hours."""

    symbol: str
    price: float
    size: int
    bid: float
    ask: float
    bid_size: int
    ask_size: int
    at: datetime
    conditions: tuple[str, ...]


def money(price: float) -> Decimal:
    """A float price as Decimal, at most four decimals, at least two."""
    text = f"{price:.4f}"
    return Decimal(text[:-2] if text.endswith("00") else text)


class Prices:
    """The quotes of all symbols of a tape, from ``now`` on. ``per_bar``: points a bar is walked in; ``seed`` draws those between the four
    anchors."""

    def __init__(self, tape: BarTape, profile: FillProfile, now: datetime, seed: int = 0, per_bar: int = ANCHORS) -> None:
        """Raises ValueError for fewer points than the four anchors."""
        self.tape = tape
        self.profile = profile
        self.seed = seed
        self.per_bar = check_points(per_bar)
        self.quotes = {symbol: self._first_quote(symbol, now) for symbol in tape.symbols}
        self._shares = volume_shares(per_bar, profile.early_volume_share)
        self._printed: list[Quote] = []
        self._point: Point | None = None

    def _first_quote(self, symbol: str, now: datetime) -> Quote:
        quote = Quote(symbol, fills.stable_key(symbol))
        series = self.tape.series[symbol]
        known = series.known(now)
        if known:
            quote.price = quote.previous_close = series.close[known - 1]
        return quote

    # --- looking --------------------------------------------------------------------------------------------------------------------

    def last(self) -> dict[str, Decimal]:
        """Last price of every symbol that has one."""
        return {symbol: money(quote.price) for symbol, quote in self.quotes.items() if not math.isnan(quote.price)}

    def half_spread(self, price: Decimal, symbol: str | None = None) -> Decimal:
        """Half the spread the profile quotes at ``price``, in dollars; as wide as it is now if the ``symbol`` is given."""
        p, widening = self.profile, self.quotes[symbol].widening if symbol else 1.0
        return money(fills.half_spread(float(price), p.half_spread_bps, p.spread_multiplier * widening, p.minimum_half_spread))

    def bid_ask(self, symbol: str) -> tuple[Decimal, Decimal]:
        """The quote of a symbol that has a price: half a spread to either side, rounded outwards to the tick."""
        p, quote = self.profile, self.quotes[symbol]
        half = fills.half_spread(quote.price, p.half_spread_bps, p.spread_multiplier * quote.widening, p.minimum_half_spread)
        tick = fills.tick_size(quote.price)
        bid = max(math.floor((quote.price - half) / tick + 1e-6) * tick, tick)
        return money(bid), money(math.ceil((quote.price + half) / tick - 1e-6) * tick)

    def prints(self) -> tuple[Print, ...]:
        """What the last step printed, by symbol. The sizes of a bar's prints sum to its volume (rounded to whole shares); a point at which
        not one share trades prints nothing."""
        point = self._point
        if point is None:
            return ()
        return tuple(found for quote in self._printed if (found := self._print(quote, point)) is not None)

    def _print(self, quote: Quote, point: Point) -> Print | None:
        size = whole_sizes(quote.flow, self._shares[point.phase : point.phase + 2])[0]
        if size <= 0:
            return None
        bid, ask = self.bid_ask(quote.symbol)
        minutes = self.profile.queue_minutes or _SHOWN_MINUTES
        draws = (fills.uniform_draw(self.seed, quote.key, quote.bar, point.phase, _DEPTH + side) for side in (0, 1))
        bid_size, ask_size = (max(100, 100 * round(fills.queue_ahead(draw, minutes, quote.minute_volume) / 100)) for draw in draws)
        kind = ("T",) if not quote.regular else ("O",) if quote.opening else ("6",) if point.kind == "session_close" else ()
        price = round(quote.price, 4)
        return Print(quote.symbol, price, size, float(bid), float(ask), bid_size, ask_size, point.at, ("@", *kind))

    # --- moving ---------------------------------------------------------------------------------------------------------------------

    def split(self, symbol: str, ratio: float) -> None:
        """Restate what is remembered of a symbol on the morning of its split."""
        quote = self.quotes[symbol]
        quote.price /= ratio
        quote.previous_close /= ratio

    def halt(self, symbol: str) -> None:
        """No price of ``symbol`` prints, and nothing trades, until it resumes. The tape goes on meanwhile."""
        self.quotes[symbol].halted, self.quotes[symbol].live = True, False

    def resume(self, symbol: str) -> None:
        """The next price of ``symbol`` comes as a jump from the last one before the halt."""
        self.quotes[symbol].halted, self.quotes[symbol].resumes = False, True

    def walk(self, point: Point, held: Callable[[str], Decimal], meet: Callable[[Quote, float, float, bool], None]) -> tuple[TapeBar, ...]:
        """Move every price to ``point`` and let the orders ``meet`` the stretch; the bars that became known. ``held``: the position."""
        regular = point.kind not in EXTENDED_KINDS
        minutes = (point.at - self.tape.sessions[point.session].open).total_seconds() / 60.0
        self._printed, self._point = [], point
        if point.bar is None:
            return ()
        for quote in self.quotes.values():
            if point.phase == 0:
                self._begin(quote, point.bar)
            if quote.bar != point.bar:
                continue
            if point.phase == 1:
                self._leave_open(quote, held)
            if quote.halted:
                quote.live, quote.resumes = False, True
                continue
            quote.opening = regular and (quote.resumes or quote.session != point.session)
            quote.regular = regular
            quote.widening = self._widening(quote, minutes)
            end, jump = quote.path[point.phase], point.phase == 0 or quote.resumes
            start = end if jump else quote.price
            quote.price, quote.begin, quote.end, quote.taken = end, self._shares[point.phase], self._shares[point.phase + 1], 0.0
            quote.live, quote.resumes = not point.is_last, False
            if regular:
                quote.session = point.session
            self._printed.append(quote)
            meet(quote, start, end, jump)
        if not point.is_last:
            return ()
        return tuple(bar for bar in self.tape.bars_ending(point.bar) if not self.quotes[bar.symbol].halted)

    def _begin(self, quote: Quote, bar: int) -> None:
        series = self.tape.series[quote.symbol]
        position = series.index.get(bar)
        if position is None:
            return
        quote.bar, quote.bar_end = bar, series.ends[position]
        quote.low, quote.high, quote.close = series.low[position], series.high[position], series.close[position]
        quote.volume = series.volume[position]
        quote.volatility, quote.average_volume = series.volatility[position], series.average_volume[position]
        quote.minute_volume = quote.average_volume / self.tape.timeframe.minutes
        quote.step_seconds = (series.ends[position] - bar) / 1e9 / (self.per_bar - 1)
        quote.path = [series.open[position]]

    def _leave_open(self, quote: Quote, held: Callable[[str], Decimal]) -> None:
        """Choose the order of the extremes by the position held now, and with it the rest of the bar's path."""
        open_, low, high = quote.path[0], quote.low, quote.high
        mode = fills.PATH_MODES[self.profile.path]
        low_first = fills.low_comes_first(float(held(quote.symbol)), open_, high, low, mode)
        anchors = [open_, *((low, high) if low_first else (high, low)), quote.close]
        if self.per_bar == ANCHORS:
            quote.path = anchors
        else:
            laid = bar_path(np.array(anchors), self.per_bar, low, high, self.seed, quote.key, quote.bar)
            quote.path = laid.tolist()

    def _widening(self, quote: Quote, minutes: float) -> float:
        p, relative = self.profile, quote.volatility / self.tape.typical_volatility
        return fills.spread_widening(minutes, relative, quote.regular, p.open_widening, p.volatility_widening, p.extended_widening)

    def close_session(self) -> None:
        """No price prints until the next open."""
        for quote in self.quotes.values():
            quote.live = False
            quote.previous_close = quote.price
