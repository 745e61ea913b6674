"""Trades and quotes as the data API remembers them: what was printed since the venue began, and before that the bars' own prices."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.quotes import money
from alphatrade_pipelines.venue.exchange.tape import TapeBar, to_ns
from alphatrade_pipelines.venue.server.wire import NEW_YORK, Json, shares, stamp

VENUE, TAPE = "V", "C"  # all prints come from IEX, and all assets are listed at Nasdaq
REMEMBERED = 20_000  # prints a symbol
_PARTS = (0.0, 0.2, 0.5, 0.8, 1.0)  # a bar of history: its open, extremes and close own its volume in these parts


@dataclass(frozen=True, slots=True)
class Seen:
    """One trade with the quote it happened at. ``number``: its place among the prints of that moment and symbol."""

    at: datetime
    price: float
    size: float
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    conditions: tuple[str, ...]

    @property
    def trade(self) -> Json:
        """A trade of the data API; its id grows through the day."""
        since_midnight = self.at.astimezone(NEW_YORK)
        midnight = since_midnight.replace(hour=0, minute=0, second=0, microsecond=0)
        number = int((since_midnight - midnight).total_seconds() * 1e6)
        conditions = list(self.conditions) or ["@"]
        return {"t": stamp(self.at), "x": VENUE, "p": self.price, "s": shares(self.size), "c": conditions, "i": number, "z": TAPE}

    @property
    def quote(self) -> Json:
        """A quote of the data API, sizes in shares."""
        ask = {"ax": VENUE, "ap": self.ask, "as": shares(self.ask_size)}
        bid = {"bx": VENUE, "bp": self.bid, "bs": shares(self.bid_size)}
        return {"t": stamp(self.at), **ask, **bid, "c": ["R"], "z": TAPE}


class PrintLog:
    """The prints of one exchange. ``record`` after every step."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._began = exchange.now
        self._seen: dict[str, list[Seen]] = {symbol: [] for symbol in exchange.tape.symbols}

    def between(self, symbol: str, start: datetime, end: datetime) -> list[Seen]:
        """Prints with ``start`` <= time <= ``end``, oldest first."""
        found = self._of_history(symbol, start, min(end, self._began)) if start < self._began else []
        log = self._seen[symbol]
        return found + log[bisect_left(log, start, key=_at) : bisect_right(log, end, key=_at)]

    def latest(self, symbol: str) -> Seen | None:
        """The last print, restated if a split has moved the price since; None before the first price."""
        prices = self._exchange.prices()
        if symbol not in prices:
            return None
        log = self._seen[symbol]
        if log and money(log[-1].price) == prices[symbol]:
            return log[-1]
        price, half = prices[symbol], self._exchange.half_spread(prices[symbol])
        at = log[-1].at if log else min(self._began, self._exchange.now)
        return Seen(at, float(price), 100.0, float(price - half), float(price + half), 100.0, 100.0, ())

    def _of_history(self, symbol: str, start: datetime, before: datetime) -> list[Seen]:
        series = self._exchange.tape.series[symbol]
        first = bisect_left(series.ends, to_ns(start)) if start.year > 1971 else 0
        bars = (series.bar(position) for position in range(first, series.known(self._began)))
        return [one for bar in bars if bar.start <= before for one in self._prints_of(bar) if start <= one.at <= before]

    def _prints_of(self, bar: TapeBar) -> list[Seen]:
        """A bar from before the venue began as four prints: open, the extreme nearer to it, the other one, close."""
        extremes = (bar.low, bar.high) if bar.open - bar.low <= bar.high - bar.open else (bar.high, bar.low)
        moments: Sequence[datetime] = [bar.start + (bar.end - bar.start) * part / 3 for part in range(4)]
        sizes = [round(bar.volume * after) - round(bar.volume * before) for before, after in pairwise(_PARTS)]
        found = []
        for at, price, size in zip(moments, (bar.open, *extremes, bar.close), sizes, strict=True):
            half = float(self._exchange.half_spread(money(price)))
            found.append(Seen(at, price, float(size), round(price - half, 4), round(price + half, 4), 100.0, 100.0, ()))
        return found


def _at(one: Seen) -> datetime:
    return one.at
