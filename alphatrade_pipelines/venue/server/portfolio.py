"""GET /v2/account/portfolio/history: the account's equity in windows of a minute to a day, left-labelled, epoch seconds."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pandas as pd

from alphatrade_pipelines.venue.exchange.errors import malformed
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.server import requests
from alphatrade_pipelines.venue.server.wire import NEW_YORK, Json

_FRAMES = {"1Min": 1, "5Min": 5, "15Min": 15, "1H": 60}
_REPORTING = ("market_hours", "extended_hours", "continuous")
_EXTENDED = (time(4), time(20))
_INTRADAY_DAYS = 30
_PCT = Decimal("1e-9")


class EquityCurve:
    """Equity over venue time as a step function; ``record`` after every step."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._times: list[datetime] = [exchange.now]
        self._values: list[Decimal] = [exchange.cash_account.initial_cash]

    def record(self) -> None:
        """Remember the equity of this moment if it has changed."""
        equity = self.now()
        if equity != self._values[-1]:
            self._times.append(self._exchange.now)
            self._values.append(equity)

    def now(self) -> Decimal:
        """Equity at the last prices."""
        account = self._exchange.cash_account
        return account.equity(self._exchange.prices()) if account.holdings else account.cash

    def at(self, moment: datetime) -> Decimal:
        """The last equity recorded at or before ``moment`` (the first one for an earlier moment)."""
        return self._values[max(0, bisect_right(self._times, moment) - 1)]


@dataclass(frozen=True, slots=True)
class Window:
    """One row: labelled ``start``, valued at its end, part of the session of ``day``."""

    start: datetime
    equity: Decimal
    day: date
    end: datetime


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """What is asked: New York days ``first`` to ``last``, both included; ``minutes`` None = by session."""

    first: date
    last: date
    timeframe: str
    minutes: int | None
    reporting: str
    resets_daily: bool
    cashflows: tuple[str, ...]


def history(query: Mapping[str, str], curve: EquityCurve, exchange: Exchange, created: datetime) -> Json:
    """The answer; VenueError 422 for a query that cannot be answered. ``created``: when the account began."""
    asked = read_query(query, exchange, created)
    rows = list(_by_session(asked, curve, exchange) if asked.minutes is None else _intraday(asked, curve, exchange, created))
    closes = {day: equity for day, _, equity in exchange.equity_history}
    before = [day for day in closes if day < (rows[0].day if rows else asked.first)]
    base = closes[before[-1]] if before else exchange.cash_account.initial_cash
    gains = [row.equity - _base_of(row, asked, closes, base, exchange) for row in rows]
    return {
        "timestamp": [int(row.start.timestamp()) for row in rows],
        "equity": [float(row.equity) for row in rows],
        "profit_loss": [float(gain) for gain in gains],
        "profit_loss_pct": [float((gain / (row.equity - gain)).quantize(_PCT)) for row, gain in zip(rows, gains, strict=True)],
        "base_value": float(base),
        **({"base_value_asof": before[-1].isoformat()} if before else {}),
        "timeframe": asked.timeframe,
        **({"cashflow": _cashflow(asked.cashflows, rows, exchange)} if asked.cashflows else {}),
    }


def read_query(query: Mapping[str, str], exchange: Exchange, created: datetime) -> HistoryQuery:
    """Dates and timeframe as Alpaca derives them: two of start, end and period at most; the timeframe follows from the span."""
    start, end = requests.day(query.get("start"), "start"), requests.day(query.get("end") or query.get("date_end"), "end")
    period = query.get("period")
    if start and end and period:
        raise malformed("only two of start, end and period can be specified at the same time")
    today = min(exchange.tape.calendar.session_of(exchange.now), exchange.now.astimezone(NEW_YORK).date())
    first, last = _span(start, end, period, today, created)
    days = (last - first).days + 1
    default = "1Min" if days < 7 else "15Min" if days < _INTRADAY_DAYS else "1D"
    timeframe = requests.choice(query.get("timeframe"), "timeframe", (*_FRAMES, "1D"), default)
    if timeframe != "1D" and days > _INTRADAY_DAYS + 1:
        raise malformed("timeframe must be 1D for a period longer than 30 days")
    extended = "extended_hours" if requests.bool_of(query, "extended_hours") else "market_hours"
    flows = query.get("cashflow_types") or "NONE"
    return HistoryQuery(
        first=max(first, created.astimezone(NEW_YORK).date()),
        last=min(last, today),
        timeframe=timeframe,
        minutes=_FRAMES.get(timeframe),
        reporting=requests.choice(query.get("intraday_reporting"), "intraday_reporting", _REPORTING, extended),
        resets_daily=requests.choice(query.get("pnl_reset"), "pnl_reset", ("per_day", "no_reset"), "per_day") == "per_day",
        cashflows=() if flows == "NONE" else ("DIV", "FEE") if flows == "ALL" else tuple(requests.names(flows)),
    )


def _span(start: date | None, end: date | None, period: str | None, today: date, created: datetime) -> tuple[date, date]:
    if start and not period:
        return start, end or today
    if period == "all":
        return created.astimezone(NEW_YORK).date(), end or today
    length = _offset(period or "1M")
    try:
        if start:
            return start, (pd.Timestamp(start) + length).date() - timedelta(days=1)
        last = end or today
        return (pd.Timestamp(last) - length).date() + timedelta(days=1), last
    except (ValueError, OverflowError):
        raise malformed(f"invalid period {period!r}: out of range") from None


def _offset(period: str) -> pd.DateOffset:
    amount, unit = period[:-1], period[-1:]
    if not amount.isdecimal() or len(amount) > 4 or int(amount) == 0 or unit not in "DWMA":
        raise malformed("period must be a number and one of D, W, M, A, or all")
    days, months = {"D": (1, 0), "W": (7, 0), "M": (0, 1), "A": (0, 12)}[unit]
    return pd.DateOffset(days=days * int(amount), months=months * int(amount))


def _by_session(asked: HistoryQuery, curve: EquityCurve, exchange: Exchange) -> Iterator[Window]:
    played = {day: (at, equity) for day, at, equity in exchange.equity_history}
    for session in exchange.tape.sessions:
        if not asked.first <= session.day <= asked.last:
            continue
        if session.day in played:
            at, equity = played[session.day]
            yield Window(session.open, equity, session.day, at)
        elif session.open <= exchange.now < session.close:
            yield Window(session.open, curve.now(), session.day, exchange.now)


def _intraday(asked: HistoryQuery, curve: EquityCurve, exchange: Exchange, created: datetime) -> Iterator[Window]:
    assert asked.minutes is not None
    length = timedelta(minutes=asked.minutes)
    for day, opens, closes in _hours(asked, exchange):
        label = opens
        while label <= min(closes, exchange.now):
            end = min(label + length, exchange.now)
            if end >= created:
                yield Window(label, curve.now() if end == exchange.now else curve.at(end), day, end)
            label += length


def _hours(asked: HistoryQuery, exchange: Exchange) -> Iterator[tuple[date, datetime, datetime]]:
    """(day, first label, last label) of every day asked for."""
    if asked.reporting == "continuous":
        day = asked.first
        while day <= asked.last:
            midnight = _new_york(day, time(0))
            yield day, midnight, _new_york(day + timedelta(days=1), time(0)) - timedelta(minutes=asked.minutes or 0)
            day += timedelta(days=1)
        return
    for session in exchange.tape.sessions:
        if asked.first <= session.day <= asked.last:
            if asked.reporting == "extended_hours":
                yield session.day, _new_york(session.day, _EXTENDED[0]), _new_york(session.day, _EXTENDED[1])
            else:
                yield session.day, session.open, session.close


def _new_york(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock, NEW_YORK).astimezone(UTC)


def _base_of(row: Window, asked: HistoryQuery, closes: Mapping[date, Decimal], base: Decimal, exchange: Exchange) -> Decimal:
    """What a row's profit is measured from: intraday the close of the session before its day (``per_day``), else one base for all."""
    if asked.minutes is None or not asked.resets_daily:
        return base
    earlier = [equity for day, equity in closes.items() if day < row.day]
    return earlier[-1] if earlier else exchange.cash_account.initial_cash


def _cashflow(kinds: tuple[str, ...], rows: list[Window], exchange: Exchange) -> dict[str, list[float]]:
    """Dollars that came or went in each window, by activity type."""
    moves = {
        "DIV": [(at, amount) for at, _, _, amount in exchange.dividends],
        "FEE": [(fill.at, -fill.fee) for fill in exchange.fills() if fill.fee],
    }
    edges = [row.end for row in rows]
    found: dict[str, list[float]] = {}
    for kind in kinds:
        sums = [Decimal(0)] * len(rows)
        for at, amount in moves.get(kind, []):
            place = bisect_right(edges, at - timedelta(microseconds=1))
            if place < len(rows):
                sums[place] += amount
        found[kind] = [float(total) for total in sums]
    return found
