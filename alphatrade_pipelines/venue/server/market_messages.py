"""What the data stream says: the messages of Alpaca's real-time stock feed, and which of them a step of the exchange causes.

``t`` is an aware datetime here; the feed writes it as a msgpack Timestamp or in RFC 3339. Corrections, cancels and updated bars have no
cause in this exchange, whose tape is final: they are here for whoever injects them.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from alphatrade_pipelines.venue.exchange.config import Step
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.levers import Notice
from alphatrade_pipelines.venue.exchange.quotes import Print
from alphatrade_pipelines.venue.exchange.tape import BarTape, TapeBar
from alphatrade_pipelines.venue.server import wire
from alphatrade_pipelines.venue.server.prints import Seen
from alphatrade_pipelines.venue.server.wire import NEW_YORK, TAPE, VENUE, Json

BarKind = Literal["b", "u", "d"]


# --- one message ------------------------------------------------------------------------------------------------------------------------


def bar_message(kind: BarKind, bar: TapeBar, at: datetime) -> Json:
    """``b`` a bar, ``u`` the same bar updated by late trades, ``d`` the day so far (``at`` = midnight in New York)."""
    return {"T": kind, "S": bar.symbol, **wire.bar(bar, at), "t": at}


def trade_message(one: Print, trade_id: int) -> Json:
    """``t``."""
    sale = {"i": trade_id, "x": VENUE, "p": one.price, "s": one.size, "c": list(one.conditions)}
    return {"T": "t", "S": one.symbol, **sale, "t": one.at, "z": TAPE}


def quote_message(one: Print) -> Json:
    """``q``."""
    ask = {"ax": VENUE, "ap": one.ask, "as": one.ask_size}
    bid = {"bx": VENUE, "bp": one.bid, "bs": one.bid_size}
    return {"T": "q", "S": one.symbol, **ask, **bid, "c": ["R"], "t": one.at, "z": TAPE}


def correction_message(trade: Json, at: datetime, *, price: float, size: int) -> Json:
    """``c``: ``trade`` (a ``t`` message) really was at ``price`` and ``size``. The correction has the next id."""
    original = {"oi": trade["i"], "op": trade["p"], "os": trade["s"], "oc": trade["c"]}
    corrected = {"ci": trade["i"] + 1, "cp": price, "cs": size, "cc": trade["c"]}
    return {"T": "c", "S": trade["S"], "x": trade["x"], **original, **corrected, "t": at, "z": trade["z"]}


def cancel_message(trade: Json, at: datetime, action: Literal["C", "E"] = "C") -> Json:
    """``x``: ``trade`` (a ``t`` message) is cancelled (C) or was an error (E)."""
    return {"T": "x", **{key: trade[key] for key in ("S", "i", "x", "p", "s")}, "a": action, "t": at, "z": trade["z"]}


def notice_message(notice: Notice) -> Json | None:
    """``s``: a trading status and its reason (codes of Nasdaq's tape: H, P, T; T1, LUDP ...); ``l``: price bands. None for a notice that
    no stream carries, such as a change of name."""
    kind = {"status": "s", "luld": "l"}.get(notice.kind)
    if kind is None:
        return None
    data = {name: float(value) if isinstance(value, Decimal) else value for name, value in notice.data.items()}
    return {"T": kind, "S": notice.symbol, **data, "t": notice.at, "z": TAPE}


def imbalance_message(symbol: str, price: float, at: datetime) -> Json:
    """``i``: at an auction, the price at which it crosses."""
    return {"T": "i", "S": symbol, "p": price, "z": TAPE, "t": at}


# --- a step -----------------------------------------------------------------------------------------------------------------------------


class MarketMessages:
    """The messages of one exchange. What nobody listens to is not computed, but for the day's bar, which has to know the whole day."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._days = RunningDays(exchange.tape)

    def of_step(self, step: Step, printed: Sequence[Seen], listened: Set[str]) -> list[Json]:
        """In the order of a real feed: quotes and trades, auctions, bars, days. ``listened``: channels somebody has subscribed to."""
        found: list[Json] = []
        if listened & {"trades", "quotes"}:
            for one in printed:
                found += [quote_message(one.print), trade_message(one.print, one.number)]
        if "imbalances" in listened and step.kind in ("session_open", "session_close"):
            prices = self._exchange.prices()
            found += [imbalance_message(symbol, float(price), step.at) for symbol, price in prices.items()]
        if not self._exchange.tape.timeframe.is_daily:
            found += [bar_message("b", bar, bar.start) for bar in step.bars]
        return found + [bar_message("d", day, midnight(day.start)) for day in map(self._days.add, step.bars) if day is not None]

    def of_notices(self) -> list[Json]:
        """Halts, resumptions and price bands since the last call."""
        told = (notice_message(notice) for notice in self._exchange.drain_notices())
        return [message for message in told if message is not None]


class RunningDays:
    """The day so far of every symbol, out of the bars of regular sessions."""

    def __init__(self, tape: BarTape) -> None:
        self._tape = tape
        self._days: dict[str, TapeBar] = {}

    def add(self, bar: TapeBar) -> TapeBar | None:
        """The day of ``bar`` up to its end; None for a bar outside the session."""
        if self._tape.timeframe.is_daily:
            return bar
        position = self._tape.session_at(bar.start)
        if position == len(self._tape.sessions) or bar.end <= self._tape.sessions[position].open:
            return None
        before = self._days.get(bar.symbol)
        same_day = before is not None and midnight(before.start) == midnight(bar.start)
        self._days[bar.symbol] = day = _joined(before, bar) if before is not None and same_day else bar
        return day


def _joined(day: TapeBar, bar: TapeBar) -> TapeBar:
    volume = day.volume + bar.volume
    return replace(
        day,
        end=bar.end,
        high=max(day.high, bar.high),
        low=min(day.low, bar.low),
        close=bar.close,
        volume=volume,
        vwap=(day.vwap * day.volume + bar.vwap * bar.volume) / volume if volume else bar.close,
        trade_count=day.trade_count + bar.trade_count,
    )


def midnight(at: datetime) -> datetime:
    """The beginning of the New York day of ``at``: how Alpaca stamps daily bars."""
    return at.astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0)
