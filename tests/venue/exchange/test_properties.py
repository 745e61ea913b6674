"""Whatever a client does, in whatever order, and whatever befalls the market: the books add up, and nothing trades that may not.

The short form runs with the suite; ``make prove-venue`` runs hundreds of examples (VENUE_EXAMPLES sets how many)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from recount import check_claims, check_groups
from venue_world import D, random_bars

from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.venue import (
    BASE,
    OPTIMISTIC,
    PESSIMISTIC,
    BarTape,
    Exchange,
    ExchangeConfig,
    Fidelity,
    Fill,
    TradeUpdate,
    VenueError,
    VenueOrderRequest,
)
from alphatrade_pipelines.venue.exchange.orders import TERMINAL, VenueOrder


def eventful_bars() -> pd.DataFrame:
    """Thin volume (so that fills come in parts), a dividend, a 3:2 split and a 1:2 reverse split."""
    bars = random_bars(symbols=2, sessions=14, seed=3)
    bars["volume"] = np.round(bars["volume"] / 40)
    aaa, bbb = (bars.index.get_loc(symbol) for symbol in ("AAA", "BBB"))
    price = ["open", "high", "low", "close"]
    for rows, place, ratio in ((aaa, 6, 1.5), (bbb, 8, 0.5)):
        after = bars.index[rows][place:]
        bars.loc[after, price] = (bars.loc[after, price] / ratio).round(2)
        bars.loc[after[0], "split"] = ratio
    bars.loc[bars.index[aaa][9], "dividend"] = 0.37
    return bars


def long_days() -> pd.DataFrame:
    """Half-hour bars of two symbols from 8:00 to 18:00 New York over a half day (3 July) and three whole ones."""
    rng, frames = np.random.default_rng(5), []
    opens = SessionCalendar().sessions("2024-07-02", "2024-07-08")["open"]
    for number, symbol in enumerate(("AAA", "BBB")):
        starts = pd.DatetimeIndex([open_ + pd.Timedelta(minutes=30 * k) for open_ in opens for k in range(-3, 17)])
        close = 60.0 * (number + 1) * np.exp(np.cumsum(rng.normal(0, 0.006, len(starts))))
        first = np.concatenate([[close[0]], close[:-1]]) * np.exp(rng.normal(0, 0.002, len(starts)))
        high, low = np.maximum(first, close) * 1.004, np.minimum(first, close) * 0.996
        index = pd.MultiIndex.from_product([[symbol], starts], names=["symbol", "timestamp"])
        columns = {"open": first, "high": high, "low": low, "close": close}
        frame = pd.DataFrame({name: np.round(values, 2) for name, values in columns.items()}, index=index)
        frame["volume"] = rng.integers(2_000, 20_000, len(starts)).astype(float)
        frames.append(frame)
    return pd.concat(frames)


TAPES = {"days": BarTape(eventful_bars(), "1Day"), "long_days": BarTape(long_days(), "30Min", extended_hours=True)}
PROFILES = [replace(profile, participation=min(profile.participation, 0.02)) for profile in (OPTIMISTIC, BASE, PESSIMISTIC)]
WORLDS = [
    Fidelity(),
    Fidelity(sl_trigger_replaces_id=True, stream_sibling_cancel=False, leg_tif_inherited=False, oto_replaceable=True),
    Fidelity(cancel_lag_seconds=7200.0, replace_lag_seconds=7200.0, overnight_cancel_waits=True),
    Fidelity(partial_fill_probability=0.3, wash_check=False, buy_stop_converts=False, day_end_status="canceled", gtc_days=3),
]
SYMBOLS = st.sampled_from(["AAA", "BBB"])
SIDES = st.sampled_from(["buy", "sell"])
OFFSETS = st.integers(-60, 60)  # tenths of a percent around the last price
RARELY = st.sampled_from([False, False, False, False, True])
MOSTLY = st.sampled_from([True, True, True, True, False])
TIMES = ["day", "gtc", "ioc", "fok", "opg", "cls"]


def exchange_of(world: tuple[str, Any, Fidelity, int]) -> Exchange:
    name, profile, fidelity, seed = world
    tape = TAPES[name]
    start = tape.sessions[2 if name == "days" else 0].close
    return Exchange(tape, ExchangeConfig(start=start, profile=profile, fidelity=fidelity, seed=seed))


def call(ex: Exchange, name: str, args: tuple[Any, ...], given: dict[str, Any]) -> object:
    """One logged call: ``submit``, ``levers.halt`` ..."""
    target: Any = ex
    for part in name.split("."):
        target = getattr(target, part)
    return target(*args, **given)


class Client(RuleBasedStateMachine):
    """Sends anything and pulls any lever; ``log`` keeps it for the replay."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.ex: Exchange | None = None
        self.filled: dict[str, Decimal] = {}
        self.ended: set[str] = set()
        self.positions: dict[str, Decimal] = {}
        self.seen_fills = 0
        self.disturbed = False  # a lever moved a position or let both legs race: exits may exceed it

    # --- doing and looking ---

    def do(self, name: str, *args: Any, **given: Any) -> object:
        """Call the exchange, remember the call, and look at everything that came of it."""
        self.log.append((name, args, given))
        assert self.ex is not None
        halted, result, status = set(self.ex.halts), None, 200
        try:
            result = call(self.ex, name, args, given)
        except VenueError as error:
            status = error.http_status
        assert status in (200, 400, 403, 404, 422)
        for fill in self.ex.fills()[self.seen_fills :]:
            self.count(fill, halted & set(self.ex.halts))
        self.seen_fills = len(self.ex.fills())
        for update in self.ex.drain():
            self.look(update)
        return result

    def look(self, update: TradeUpdate) -> None:
        order = update.order
        before = self.filled.get(order.id, D(0))
        assert before <= order.filled_qty <= order.qty
        assert order.id not in self.ended, f"{update.event} after a terminal state"
        self.filled[order.id] = order.filled_qty
        if update.execution_id is not None:
            assert update.qty == order.filled_qty - before
        if order.status in TERMINAL:
            self.ended.add(order.id)

    def count(self, fill: Fill, halted: set[str]) -> None:
        assert self.ex is not None
        assert fill.symbol not in halted
        sign = 1 if fill.side == "buy" else -1
        before = self.positions.get(fill.symbol, D(0))
        self.positions[fill.symbol] = before + sign * fill.qty
        assert self.disturbed or before * self.positions[fill.symbol] >= 0, "an order crossed zero"
        assert fill.low <= fill.price <= fill.high
        assert sign * (fill.price - fill.reference) >= 0, "a fill better than the market"
        order = self.ex.order(fill.order_id)
        if order.limit_price is not None:
            assert sign * (fill.price - order.limit_price) <= 0
        self.check_time(order, fill)

    def check_time(self, order: VenueOrder, fill: Fill) -> None:
        assert self.ex is not None
        calendar = self.ex.tape.calendar
        opens, closes = calendar.session_bounds(fill.at)
        if not opens <= fill.at <= closes:
            assert order.extended_hours, "a fill outside the session"
        if order.time_in_force == "opg":
            assert fill.at == opens
        if order.time_in_force == "cls":
            assert fill.at == closes
        if order.time_in_force == "fok":
            assert fill.leaves_qty == 0
        if order.notional is not None:
            value = sum((f.qty * f.price for f in self.ex.fills() if f.order_id == order.id), D(0))
            assert value <= order.notional + D("0.001")

    def price(self, symbol: str, offset: int) -> Decimal:
        assert self.ex is not None
        return (self.ex.prices()[symbol] * (1000 + offset) / 1000).quantize(D("0.01"), ROUND_FLOOR)

    def live(self, number: int) -> Any:
        assert self.ex is not None
        live = self.ex.book.live()
        return live[number % len(live)]

    # --- a client ---

    @initialize(
        tape=st.sampled_from(list(TAPES)), profile=st.sampled_from(PROFILES), fidelity=st.sampled_from(WORLDS), seed=st.integers(0, 5)
    )
    def begin(self, tape: str, profile: Any, fidelity: Fidelity, seed: int) -> None:
        self.world = (tape, profile, fidelity, seed)
        self.ex = exchange_of(self.world)

    @rule(symbol=SYMBOLS, side=SIDES, qty=st.integers(1, 400), kind=st.sampled_from(["market", "limit", "stop", "stop_limit"]),
          tif=st.sampled_from(TIMES), a=OFFSETS, b=OFFSETS, extended=st.booleans())  # fmt: skip
    def simple(self, symbol: str, side: str, qty: int, kind: str, tif: str, a: int, b: int, extended: bool) -> None:
        limit = self.price(symbol, a) if "limit" in kind else None
        stop = self.price(symbol, b) if "stop" in kind else None
        marked = extended and kind == "limit" and tif == "day"
        self.do("submit", VenueOrderRequest(symbol, side, D(qty), kind, tif, "simple", limit, stop, extended_hours=marked))

    @rule(symbol=SYMBOLS, side=SIDES, amount=st.integers(1, 4_000_000), dollars=st.booleans(), a=OFFSETS,
          kind=st.sampled_from(["market", "limit"]))  # fmt: skip
    def fraction(self, symbol: str, side: str, amount: int, dollars: bool, a: int, kind: str) -> None:
        size: dict[str, Any] = {"notional": D(amount) / 100} if dollars else {"qty": D(amount) / 1_000_000}
        limit = self.price(symbol, a) if kind == "limit" else None
        self.do("submit", VenueOrderRequest(symbol, side, type=kind, limit_price=limit, **size))

    @rule(symbol=SYMBOLS, side=SIDES, qty=st.integers(1, 200), trail=st.integers(1, 40), percent=st.booleans(), gtc=st.booleans())
    def trailing(self, symbol: str, side: str, qty: int, trail: int, percent: bool, gtc: bool) -> None:
        given: dict[str, Any] = {"trail_percent" if percent else "trail_price": D(trail) / 10}
        self.do("submit", VenueOrderRequest(symbol, side, D(qty), "trailing_stop", "gtc" if gtc else "day", **given))

    @rule(symbol=SYMBOLS, side=SIDES, qty=st.integers(1, 400), kind=st.sampled_from(["market", "limit"]), single=st.booleans(),
          tif=st.sampled_from(["day", "gtc"]), entry=st.integers(-20, 20), near=st.integers(1, 60), far=st.integers(1, 60))  # fmt: skip
    def group(self, symbol: str, side: str, qty: int, kind: str, single: bool, tif: str, entry: int, near: int, far: int) -> None:
        limit = self.price(symbol, entry) if kind == "limit" else None
        sign, base = (1 if side == "buy" else -1), (entry if kind == "limit" else 0)
        target, stop = self.price(symbol, base + sign * far), self.price(symbol, base - sign * near)
        legs: dict[str, Any] = {"stop_loss": stop} if single else {"take_profit": target, "stop_loss": stop}
        order_class = "oto" if single else "bracket"
        self.do("submit", VenueOrderRequest(symbol, side, D(qty), kind, tif, order_class, limit, leg_time_in_force="gtc", **legs))

    @precondition(lambda self: self.ex is not None and self.ex.positions())
    @rule(number=st.integers(0, 1), part=st.integers(1, 4), near=st.integers(1, 60), far=st.integers(-10, 60))
    def oco(self, number: int, part: int, near: int, far: int) -> None:
        assert self.ex is not None
        position = self.ex.positions()[number % len(self.ex.positions())]
        sign = 1 if position.qty > 0 else -1
        qty = max(D(1), abs(position.qty) // part)
        target, stop = self.price(position.symbol, sign * far), self.price(position.symbol, -sign * near)
        side = "sell" if sign > 0 else "buy"
        self.do("submit", VenueOrderRequest(position.symbol, side, qty, "limit", "gtc", "oco", None, None, target, stop))

    @precondition(lambda self: self.ex is not None and self.ex.book.live())
    @rule(number=st.integers(0, 50))
    def cancel(self, number: int) -> None:
        assert self.ex is not None
        order = self.live(number)
        pending = order.status.startswith("pending_") or order.predecessor is not None
        self.do("cancel", order.id)
        if not self.ex.fidelity.cancel_lag_seconds and not pending:
            assert not any(member.is_live for member in order.members), "a cancelled group has a live member"

    @precondition(lambda self: self.ex is not None and self.ex.book.live())
    @rule(number=st.integers(0, 50), a=OFFSETS, b=OFFSETS, qty=st.one_of(st.none(), st.integers(1, 500)))
    def replace(self, number: int, a: int, b: int, qty: int | None) -> None:
        order = self.live(number)
        given: dict[str, Any] = {} if qty is None else {"qty": D(qty)}
        if order.type == "trailing_stop":
            given["trail"] = D(abs(a) + 1) / 10
        else:
            given |= {} if order.limit_price is None else {"limit_price": self.price(order.symbol, a)}
            given |= {} if order.stop_price is None else {"stop_price": self.price(order.symbol, b)}
        self.do("replace", order.id, **given)

    @rule(symbol=SYMBOLS, percentage=st.sampled_from([None, D(50), D(100)]))
    def close(self, symbol: str, percentage: Decimal | None) -> None:
        self.do("close_position", symbol, None, percentage)

    # --- the world ---

    @rule(times=st.integers(1, 5))
    def advance(self, times: int) -> None:
        for _ in range(times):
            step: Any = self.do("advance")
            for action in step.corporate_actions if step else ():
                self.split(action)

    def split(self, action: Any) -> None:
        """Toward zero, the odd part of a share (of a billionth, for fractions) is paid in cash."""
        held = self.positions.get(action.symbol, D(0))
        ratio = Fraction(action.split).limit_denominator(10_000)
        unit = 1 if held == held.to_integral_value() else 10**9
        exact = Fraction(held) * ratio * unit
        self.positions[action.symbol] = D(int(exact)) / unit

    @rule(times=st.integers(3, 12))
    def live_on(self, times: int) -> None:
        self.advance(times)

    @rule(symbol=SYMBOLS, on=RARELY)
    def halt(self, symbol: str, on: bool) -> None:
        self.do("levers.halt" if on else "levers.resume", symbol)

    @rule(closing_only=RARELY, easy=MOSTLY, factor=st.sampled_from([1.0, 3.0, 0.3, 0.0]), symbol=SYMBOLS)
    def circumstances(self, closing_only: bool, easy: bool, factor: float, symbol: str) -> None:
        self.do("levers.restrict", closing_only=closing_only)
        self.do("levers.asset", symbol, easy_to_borrow=easy)
        self.do("levers.scale_volume", symbol, factor)

    @precondition(lambda self: self.ex is not None and self.ex.book.live())
    @rule(number=st.integers(0, 50), reject=st.booleans(), really=RARELY)
    def strike(self, number: int, reject: bool, really: bool) -> None:
        if really:
            self.do("levers.reject" if reject else "levers.cancel", self.live(number).id)

    @rule(symbol=SYMBOLS, qty=st.integers(-50, 50), race=st.booleans())
    def outsiders(self, symbol: str, qty: int, race: bool) -> None:
        self.do("levers.foreign_order", VenueOrderRequest(symbol, "buy" if qty > 0 else "sell", D(abs(qty) + 1)))
        if qty % 3 == 0 and qty:
            self.disturbed = True
            self.do("levers.manual_trade", symbol, D(qty))
            self.positions[symbol] = self.positions.get(symbol, D(0)) + qty
            self.do("levers.both_legs", symbol, race)

    # --- what must always hold ---

    @invariant()
    def the_books_add_up(self) -> None:
        if self.ex is None:
            return
        account, spent = self.ex.cash_account, D(0)
        for sign, trade in self.trades():
            spent += sign * abs(trade.qty) * trade.price + trade.fee
        assert account.cash == account.initial_cash - spent + account.dividends + account.cash_in_lieu
        assert {s: q for s, q in self.positions.items() if q} == {s: h.qty for s, h in account.holdings.items()}
        assert account.fees_paid == sum((trade.fee for _, trade in self.trades()), D(0))
        unrealized = sum((h.qty * self.ex.prices()[s] - h.cost for s, h in account.holdings.items()), D(0))
        gained = self.ex.account().equity - account.initial_cash
        assert abs(gained - (account.realized + unrealized - account.fees_paid + account.dividends)) < D("1e-9")

    def trades(self) -> Iterator[tuple[int, Any]]:
        assert self.ex is not None
        yield from ((1 if fill.side == "buy" else -1, fill) for fill in self.ex.fills())
        yield from ((1 if trade.qty > 0 else -1, trade) for trade in self.ex.outside_trades)

    @invariant()
    def what_orders_hold_is_right(self) -> None:
        if self.ex is None:
            return
        check_claims(self.ex)
        if self.disturbed:
            return
        check_groups(self.ex)
        for position in self.ex.positions():
            assert self.ex.book.claims.held(position.symbol, position.qty) <= abs(position.qty)

    def teardown(self) -> None:
        if self.ex is None:
            return
        again = exchange_of(self.world)
        updates = []
        for name, args, given in self.log:
            try:
                call(again, name, args, given)
            except VenueError:
                continue
            finally:
                updates += again.drain()
        assert again.digest() == self.ex.digest()
        assert again.account() == self.ex.account()
        assert [order.snapshot() for order in again.book.orders.values()] == [order.snapshot() for order in self.ex.book.orders.values()]
        assert {update.order.id for update in updates} <= set(self.ex.book.orders)


Client.TestCase.settings = settings(
    max_examples=int(os.environ.get("VENUE_EXAMPLES", "25")),
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestClient = Client.TestCase
