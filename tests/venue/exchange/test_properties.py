"""Whatever a client does, in whatever order: the books add up, and nothing trades that may not."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from venue_world import D, exchange, random_bars

from alphatrade_pipelines.venue import BASE, OPTIMISTIC, PESSIMISTIC, Exchange, TradeUpdate, VenueError, VenueOrderRequest
from alphatrade_pipelines.venue.exchange.orders import TERMINAL


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


BARS = eventful_bars()
PROFILES = [replace(profile, participation=min(profile.participation, 0.02)) for profile in (OPTIMISTIC, BASE, PESSIMISTIC)]
SYMBOLS = st.sampled_from(["AAA", "BBB"])
SIDES = st.sampled_from(["buy", "sell"])
OFFSETS = st.integers(-60, 60)  # tenths of a percent around the last price


def call(ex: Exchange, name: str, args: tuple[Any, ...]) -> object:
    """One logged call; a replacement changes only the prices its order has."""
    if name != "replace":
        return getattr(ex, name)(*args)
    order_id, qty, price, has_limit, has_stop = args
    return ex.replace(order_id, qty=qty, limit_price=price if has_limit else None, stop_price=price if has_stop else None)


class Client(RuleBasedStateMachine):
    """Sends anything; ``log`` keeps it for the replay."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[str, tuple[Any, ...]]] = []
        self.profile = PESSIMISTIC
        self.ex: Exchange | None = None
        self.filled: dict[str, Decimal] = {}
        self.ended: set[str] = set()
        self.positions: dict[str, Decimal] = {}
        self.seen_fills = 0

    def do(self, name: str, *args: Any) -> object:
        """Call the exchange, remember the call, and look at everything that came of it."""
        self.log.append((name, args))
        assert self.ex is not None
        result: object = None
        refusal = 200
        try:
            result = call(self.ex, name, args)
        except VenueError as error:
            refusal = error.http_status
        assert refusal in (200, 403, 404, 422)
        self.count_fills()
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

    def count_fills(self) -> None:
        assert self.ex is not None
        for fill in self.ex.fills()[self.seen_fills :]:
            sign = 1 if fill.side == "buy" else -1
            before = self.positions.get(fill.symbol, D(0))
            after = before + sign * fill.qty
            assert before * after >= 0, "an order crossed zero"
            self.positions[fill.symbol] = after
            assert fill.low <= fill.price <= fill.high
            order = self.ex.order(fill.order_id)
            if order.limit_price is not None:
                assert sign * (fill.price - order.limit_price) <= 0
            assert sign * (fill.price - fill.reference) >= 0, "a fill better than the market"
        self.seen_fills = len(self.ex.fills())

    @precondition(lambda self: self.ex is None)
    @rule(profile=st.sampled_from(PROFILES), seed=st.integers(0, 5))
    def begin(self, profile: Any, seed: int) -> None:
        self.profile, self.seed = profile, seed
        self.ex = exchange(BARS, profile, seed=seed, skip=3)

    def price(self, symbol: str, offset: int) -> Decimal:
        assert self.ex is not None
        return (self.ex.prices()[symbol] * (1000 + offset) / 1000).quantize(D("0.01"), ROUND_FLOOR)

    @precondition(lambda self: self.ex is not None)
    @rule(symbol=SYMBOLS, side=SIDES, qty=st.integers(1, 400), kind=st.sampled_from(["market", "limit", "stop", "stop_limit"]),
          tif=st.sampled_from(["day", "gtc", "ioc"]), a=OFFSETS, b=OFFSETS)  # fmt: skip
    def simple(self, symbol: str, side: str, qty: int, kind: str, tif: str, a: int, b: int) -> None:
        limit = self.price(symbol, a) if "limit" in kind else None
        stop = self.price(symbol, b) if "stop" in kind else None
        self.do("submit", VenueOrderRequest(symbol, side, D(qty), kind, tif, limit_price=limit, stop_price=stop))

    @precondition(lambda self: self.ex is not None)
    @rule(symbol=SYMBOLS, side=SIDES, qty=st.integers(1, 400), kind=st.sampled_from(["market", "limit"]),
          tif=st.sampled_from(["day", "gtc"]), entry=st.integers(-20, 20), near=st.integers(1, 60), far=st.integers(1, 60))  # fmt: skip
    def bracket(self, symbol: str, side: str, qty: int, kind: str, tif: str, entry: int, near: int, far: int) -> None:
        limit = self.price(symbol, entry) if kind == "limit" else None
        sign, base = (1 if side == "buy" else -1), (entry if kind == "limit" else 0)
        target, stop = self.price(symbol, base + sign * far), self.price(symbol, base - sign * near)
        self.do("submit", VenueOrderRequest(symbol, side, D(qty), kind, tif, "bracket", limit, None, target, stop))

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
        live = self.ex.book.live()
        order = live[number % len(live)]
        self.do("cancel", order.id)
        assert not any(member.is_live for member in order.members), "a cancelled group has a live member"

    @precondition(lambda self: self.ex is not None and self.ex.book.live())
    @rule(number=st.integers(0, 50), a=OFFSETS, qty=st.one_of(st.none(), st.integers(1, 500)))
    def replace(self, number: int, a: int, qty: int | None) -> None:
        assert self.ex is not None
        live = self.ex.book.live()
        order = live[number % len(live)]
        new_qty = None if qty is None else D(qty)
        self.do("replace", order.id, new_qty, self.price(order.symbol, a), order.limit_price is not None, order.stop_price is not None)

    @precondition(lambda self: self.ex is not None)
    @rule(symbol=SYMBOLS)
    def close(self, symbol: str) -> None:
        self.do("close_position", symbol)

    @precondition(lambda self: self.ex is not None)
    @rule(times=st.integers(1, 5))
    def advance(self, times: int) -> None:
        for _ in range(times):
            self.step()

    def step(self) -> None:
        step: Any = self.do("advance")
        for action in step.corporate_actions if step else ():
            held = self.positions.get(action.symbol, D(0))
            ratio = Fraction(action.split).limit_denominator(10_000)
            exact = held * ratio.numerator / ratio.denominator
            self.positions[action.symbol] = D(int(exact))  # toward zero: the odd half is paid in cash

    @invariant()
    def the_books_add_up(self) -> None:
        if self.ex is None:
            return
        account, spent = self.ex.cash_account, D(0)
        for fill in self.ex.fills():
            spent += (1 if fill.side == "buy" else -1) * fill.qty * fill.price + fill.fee
        assert account.cash == account.initial_cash - spent + account.dividends + account.cash_in_lieu
        assert {s: q for s, q in self.positions.items() if q} == {s: h.qty for s, h in account.holdings.items()}
        assert account.fees_paid == sum((fill.fee for fill in self.ex.fills()), D(0))
        unrealized = sum((h.qty * self.ex.prices()[s] - h.cost for s, h in account.holdings.items()), D(0))
        gained = self.ex.account().equity - account.initial_cash
        assert abs(gained - (account.realized + unrealized - account.fees_paid + account.dividends)) < D("1e-9")

    @invariant()
    def open_exits_never_exceed_the_position(self) -> None:
        if self.ex is None:
            return
        for position in self.ex.positions():
            assert self.ex.book.claims.held(position.symbol, position.qty) <= abs(position.qty)
        assert all(order.is_live for order in self.ex.book.live())

    def teardown(self) -> None:
        if self.ex is None:
            return
        again = exchange(BARS, self.profile, seed=self.seed, skip=3, account_number="PA-ANOTHER")
        ids = dict(zip(self.ex.book.orders, self.ex.book.orders, strict=True))
        for name, args in self.log:
            try:
                call(again, name, tuple(ids.get(arg, arg) if isinstance(arg, str) else arg for arg in args))
            except VenueError:
                continue
            finally:
                ids = dict(zip(self.ex.book.orders, again.book.orders, strict=False))
        plain = [(f.symbol, f.side, f.qty, f.price, f.at, f.fee) for f in self.ex.fills()]
        assert plain == [(f.symbol, f.side, f.qty, f.price, f.at, f.fee) for f in again.fills()]


Client.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
TestClient = Client.TestCase
