"""Trades and quotes as the data API remembers them: what was printed since the venue began, and before that the bars' own prices."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.quotes import Print, money
from alphatrade_pipelines.venue.exchange.tape import TapeBar, to_ns
from alphatrade_pipelines.venue.server.wire import NEW_YORK, TAPE, VENUE, Json, shares, stamp

REMEMBERED = 20_000  # prints a symbol
_PARTS = (0.0, 0.2, 0.5, 0.8, 1.0)  # of a bar of history its open, extremes and close own these parts of the volume
_EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)
_ROUND_LOT = 100


@dataclass(frozen=True, slots=True)
class Seen:
    """One print. ``number``, the id of the trade, grows through the day."""

    print: Print
    number: int

    @property
    def at(self) -> datetime:
        """When it was printed."""
        return self.print.at

    def trade(self) -> Json:
        """A trade of the data API."""
        one = self.print
        return {
            "t": stamp(one.at),
            "x": VENUE,
            "p": one.price,
            "s": shares(one.size),
            "c": list(one.conditions),
            "i": self.number,
            "z": TAPE,
        }

    def quote(self) -> Json:
        """A quote of the data API, sizes in shares."""
        one = self.print
        ask = {"ax": VENUE, "ap": one.ask, "as": shares(one.ask_size)}
        bid = {"bx": VENUE, "bp": one.bid, "bs": shares(one.bid_size)}
        return {"t": stamp(one.at), **ask, **bid, "c": ["R"], "z": TAPE}


class PrintLog:
    """The prints of one exchange. ``record`` after every step."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._began = exchange.now
        self._seen: dict[str, list[Seen]] = {symbol: [] for symbol in exchange.tape.symbols}

    def record(self) -> list[Seen]:
        """Remember what the last step printed, and return it; when a symbol has too many, the older half is forgotten."""
        new = []
        for one in self._exchange.market.prints():
            log = self._seen[one.symbol]
            number = _number(one.at)
            if log and log[-1].at.date() == one.at.date():
                number = max(number, log[-1].number + 1)
            log.append(Seen(one, number))
            new.append(log[-1])
            if len(log) > REMEMBERED:
                del log[: REMEMBERED // 2]
        return new

    def between(self, symbol: str, start: datetime, end: datetime) -> list[Seen]:
        """Prints with ``start`` <= time <= ``end``, oldest first."""
        found = list(self._of_history(symbol, start, min(end, self._began))) if start < self._began else []
        log = self._seen[symbol]
        return found + log[bisect_left(log, start, key=_at) : bisect_right(log, end, key=_at)]

    def latest(self, symbol: str) -> Seen | None:
        """The last print; None before the first price. The morning of a split, and whenever the price has moved without a print, it is
        the price now."""
        market = self._exchange.market
        if symbol not in self._exchange.prices():
            return None
        price, log = market.quotes[symbol].price, self._seen[symbol]
        if log and money(log[-1].print.price) == money(price):
            return log[-1]
        bid, ask = (float(side) for side in market.bid_ask(symbol))
        at = log[-1].at if log else self._last_bar_end(symbol)
        return Seen(Print(symbol, round(price, 4), _ROUND_LOT, bid, ask, _ROUND_LOT, _ROUND_LOT, at, ("@",)), _number(at))

    def _last_bar_end(self, symbol: str) -> datetime:
        series = self._exchange.tape.series[symbol]
        known = series.known(self._exchange.now)
        return series.bar(known - 1).end if known else self._exchange.now

    def _of_history(self, symbol: str, start: datetime, before: datetime) -> Iterator[Seen]:
        series = self._exchange.tape.series[symbol]
        first = bisect_left(series.ends, to_ns(max(start, _EARLIEST)))
        for position in range(first, series.known(self._began)):
            for one in self._prints_of(series.bar(position)):
                if start <= one.at <= before:
                    yield one

    def _prints_of(self, bar: TapeBar) -> Iterator[Seen]:
        """A bar from before the venue began as four prints: open, the extreme nearer to it, the other one, close."""
        extremes = (bar.low, bar.high) if bar.open - bar.low <= bar.high - bar.open else (bar.high, bar.low)
        moments = [bar.start + (bar.end - bar.start) * part / 3 for part in range(4)]
        sizes = [round(bar.volume * after) - round(bar.volume * before) for before, after in pairwise(_PARTS)]
        for at, price, size in zip(moments, (bar.open, *extremes, bar.close), sizes, strict=True):
            half = float(self._exchange.half_spread(money(price)))
            bid, ask = round(price - half, 4), round(price + half, 4)
            yield Seen(Print(bar.symbol, price, size, bid, ask, _ROUND_LOT, _ROUND_LOT, at, ("@",)), _number(at))


def _at(one: Seen) -> datetime:
    return one.at


def _number(at: datetime) -> int:
    """Microseconds since midnight in New York."""
    local = at.astimezone(NEW_YORK)
    return int((local - local.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds() * 1e6)
