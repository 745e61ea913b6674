"""The exchange: one account, one tape, one order of events. Pure: no I/O, no clock, no chance; the same requests at the same steps
give the same executions, in process (backtest) or behind the server (paper)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from alphatrade_pipelines.venue.exchange import order_entry, rules, views
from alphatrade_pipelines.venue.exchange.account import ZERO, Account
from alphatrade_pipelines.venue.exchange.book import Book
from alphatrade_pipelines.venue.exchange.config import ExchangeConfig, Step
from alphatrade_pipelines.venue.exchange.errors import (
    VenueError,
    duplicate_client_id,
    forbidden,
    insufficient_buying_power,
    insufficient_quantity,
    invalid,
    not_found,
)
from alphatrade_pipelines.venue.exchange.ledger import Ledger, digest
from alphatrade_pipelines.venue.exchange.matching import Matcher
from alphatrade_pipelines.venue.exchange.orders import BookOrder, Fill, TradeUpdate, VenueOrder, VenueOrderRequest
from alphatrade_pipelines.venue.exchange.profiles import FillProfile, profile_named
from alphatrade_pipelines.venue.exchange.quotes import Prices, Quote, money
from alphatrade_pipelines.venue.exchange.tape import BarTape, CorporateAction, Point, to_datetime, to_ns
from alphatrade_pipelines.venue.exchange.views import VenueAccount, VenuePosition


class Exchange:
    """See the module. ``tape`` and ``config`` are read-only; ``book``, ``cash_account`` and ``ledger`` are open to readers."""

    def __init__(self, tape: BarTape, config: ExchangeConfig | None = None) -> None:
        """Raises ValueError for a naive start, a start inside a session, or nothing to play."""
        self.tape = tape
        self.config = config or ExchangeConfig()
        profile = self.config.profile
        self.profile = profile if isinstance(profile, FillProfile) else profile_named(profile)
        if not self.config.cash > 0:
            raise ValueError(f"expected cash > 0, found {self.config.cash}")
        self.now = _start(tape, self.config.start)
        number = self.config.account_number or f"PASIM{self.config.seed:07d}"
        self.cash_account = Account(number, self.config.cash, self.config.multiplier, self.profile.fees)
        self.book = Book(self.cash_account, self.now)
        self.matcher = Matcher(self.book, self.profile, self.config.seed, tape.timeframe.minutes * 60.0)
        self.ledger = Ledger()
        self.market_open = False
        self.market = Prices(tape, self.profile, self.now)
        self.equity_history: list[tuple[date, datetime, Decimal]] = []
        self.dividends: list[tuple[datetime, CorporateAction, Decimal, Decimal]] = []
        self._counter = 0
        self._points = self._all_points()
        self._next = next(self._points, None)
        if self._next is None:
            raise ValueError(f"nothing to play: no session of the tape between {self.now} and {self.config.end or 'its end'}")

    # --- time ---------------------------------------------------------------------------------------------------------------------

    @property
    def next_open(self) -> datetime:
        """The first session open after now."""
        return self.tape.calendar.next_open(self.now)

    @property
    def next_close(self) -> datetime:
        """The close of the current session, else of the next."""
        return self.tape.calendar.next_close(self.now)

    @property
    def next_step_at(self) -> datetime | None:
        """When the next step happens; None at the end of the tape."""
        return self._next.at if self._next else None

    def tick(self, at: datetime) -> None:
        """Let time pass without a price: at most up to the next step. For venues that run by the clock."""
        limit = self._next.at if self._next else at
        self._pass_time(min(max(at, self.now), limit))

    def advance(self) -> Step | None:
        """Move to the next event time and let it happen; None at the end of the tape."""
        point = self._next
        if point is None:
            return None
        self._next = next(self._points, None)
        self._pass_time(point.at)
        actions: tuple[CorporateAction, ...] = ()
        if point.kind == "pre_open":
            actions = self._corporate_actions(point.session)
        elif point.kind == "session_open":
            self._open_session()
        bars = self.market.walk(point, self.cash_account.quantity, self._meet) if point.bar is not None else ()
        if point.kind == "session_close":
            self._close_session(point)
        return Step(point.at, point.kind, bars, actions)

    def _all_points(self) -> Iterator[Point]:
        for session in range(self.tape.first_session_after(self.now), len(self.tape.sessions)):
            if self.config.end is not None and self.tape.sessions[session].open > self.config.end:
                return
            yield from (point for point in self.tape.points(session) if point.at >= self.now)

    def _pass_time(self, to: datetime) -> None:
        seconds = (to - self.now).total_seconds()
        if self.market_open and seconds > 0 and self.cash_account.holdings:
            positions = {symbol: holding.qty for symbol, holding in self.cash_account.holdings.items()}
            self.ledger.pass_time(seconds, positions, self.book.working)
        self.now = self.book.now = to

    # --- what happens ---------------------------------------------------------------------------------------------------------------

    def _corporate_actions(self, session: int) -> tuple[CorporateAction, ...]:
        actions = tuple(self.tape.actions[session])
        for action in actions:
            if action.dividend:
                held = self.cash_account.quantity(action.symbol)
                amount = self.cash_account.dividend(action.symbol, money(action.dividend))
                if held:
                    self.dividends.append((self.now, action, held, amount))
            if action.split != 1.0:
                self._split(action)
        return actions

    def _split(self, action: CorporateAction) -> None:
        self.market.split(action.symbol, action.split)
        for order in [order for order in self.book.live() if order.symbol == action.symbol]:
            if order.is_live:
                self.book.cancel_group(order)
        last = self.market.quotes[action.symbol].price
        price = ZERO if math.isnan(last) else money(last)
        self.cash_account.split(action.symbol, Fraction(action.split).limit_denominator(10_000), price)

    def _open_session(self) -> None:
        self.market_open = True
        for order in self.book.live():
            if order.status == "accepted":
                order.status = "new"
                order.updated_at = self.now
                self.book.emit("new", order)

    def _meet(self, quote: Quote, start: float, end: float, jump: bool) -> None:
        if self.book.working.get(quote.symbol):
            self.matcher.walk(quote, start, end, jump)

    def _close_session(self, point: Point) -> None:
        self.market_open = False
        for order in self.book.live():
            expired = order.time_in_force == "day" or (order.expires_at is not None and order.expires_at <= self.now)
            if order.is_live and expired:
                self.book.close(order, self.config.fidelity.day_end_status if order.time_in_force == "day" else "canceled")
        self.market.close_session()
        self.equity_history.append((self.tape.sessions[point.session].day, self.now, self.account().equity))

    # --- orders ---------------------------------------------------------------------------------------------------------------------

    def submit(self, request: VenueOrderRequest) -> VenueOrder:
        """Take an order. The answer is the order as accepted; whatever happens to it comes as updates (``drain``), even at once.

        Raises:
            VenueError: refused, with Alpaca's HTTP status, code and message.
        """
        try:
            self._check(request)
        except VenueError as error:
            self.ledger.refused(self.now, request, error.code, error.message)
            raise
        position = self.cash_account.quantity(request.symbol)
        order = order_entry.make_order(request, self.now, self.cash_account.number, self._counter, position)
        self._counter += len(order.members)
        order.expires_at = self._expiry(order)
        for member in order.members:
            member.expires_at = order.expires_at
            self.book.add(member)
        self.ledger.accepted(self.now, request, order)
        order.status = "pending_new" if self.market_open else "accepted"
        answer = order.snapshot()
        self.book.emit(order.status, order)
        if self.market_open:
            self._arrive(order)
        return answer

    def _expiry(self, order: BookOrder) -> datetime:
        if order.time_in_force == "gtc":
            return order_entry.gtc_expiry(self.now)
        return self.next_close

    def _arrive(self, order: BookOrder) -> None:
        order.status = "new"
        self.book.emit("new", order)
        quote = self.market.quotes[order.symbol]
        if quote.live:
            for member in order.members:
                if member.active and member.is_live:
                    self.matcher.attempt(member, quote, quote.price, quote.price, True)
        if order.time_in_force == "ioc" and order.is_live:
            self.book.close(order, "canceled")

    def _check(self, request: VenueOrderRequest) -> None:
        rules.check_shape(request)
        quote = self.market.quotes.get(request.symbol)
        if quote is None:
            raise invalid(f'asset "{request.symbol}" not found')
        if math.isnan(quote.price):
            raise invalid(f'asset "{request.symbol}" is not tradable')
        if request.client_order_id is not None and request.client_order_id in self.book.by_client_id:
            raise duplicate_client_id()
        if request.time_in_force == "ioc" and not self.market_open:
            raise invalid("ioc orders are only accepted while the market is open")
        price = money(quote.price)
        rules.check_leg_prices(request, price)
        position = self.cash_account.quantity(request.symbol)
        closing = position * (1 if request.side == "buy" else -1) < 0
        if wrong := rules.check_purpose(request, closing):
            raise wrong
        live = self.book.live()
        if self.config.fidelity.wash_check:
            rules.check_wash_trade(request, live)
        if closing:
            rules.check_quantity_available(request, position, live)
        else:
            rules.check_one_direction(request, live)
            self._check_funds(request, price)

    def _check_funds(self, request: VenueOrderRequest, price: Decimal) -> None:
        if request.side == "sell":
            if request.qty != request.qty.to_integral_value():
                raise invalid("fractional orders cannot be sold short")
            if self.cash_account.leverage(self.account().equity) <= 1:
                raise forbidden("account is not allowed to short")
        cost = (order_entry.order_value(request, price, self.half_spread(price)) * request.qty).quantize(Decimal("0.01"))
        if cost < 1:
            raise forbidden("cost basis must be >= minimal amount of order 1")
        power = self.buying_power()
        if cost > power:
            raise insufficient_buying_power(power, cost)

    def half_spread(self, price: Decimal) -> Decimal:
        """Half the spread the profile quotes at ``price``, in dollars."""
        return self.market.half_spread(price)

    def cancel(self, order_id: str) -> None:
        """Cancel an order and what is open of its group. The confirmation comes as an update.

        Raises:
            VenueError: 404 unknown order; 422 already terminal.
        """
        order = self._find(order_id)
        if not order.is_live:
            raise invalid(f'order is already in "{order.status}" state')
        self.book.cancel_group(order)

    def replace(
        self,
        order_id: str,
        *,
        qty: Decimal | None = None,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        time_in_force: str | None = None,
        client_order_id: str | None = None,
    ) -> VenueOrder:
        """Replace an order by one with a NEW id; the old one ends ``replaced``. Legs: prices only.

        Raises:
            VenueError: 404 unknown; 422 not replaceable in its state, or the change breaks a rule; 403 no funds or shares for more.
        """
        old = self._find(order_id)
        changes = order_entry.Changes(qty, limit_price, stop_price, time_in_force, client_order_id)
        order_entry.check_replace(old, changes)
        if client_order_id is not None and client_order_id in self.book.by_client_id:
            raise duplicate_client_id()
        new = order_entry.replacement(old, changes, self.now, self.cash_account.number, self._counter)
        self._check_more(old, new)
        self._counter += 1
        new.expires_at = self._expiry(new)
        old.replaced_by = new.id
        order_entry.swap(old, new)
        self.book.close(old, "replaced")
        self.book.add(new)
        answer = new.snapshot()
        self.book.emit("new", new)
        quote = self.market.quotes[new.symbol]
        if self.market_open and quote.live and new.active:
            self.matcher.attempt(new, quote, quote.price, quote.price, True)
        return answer

    def _check_more(self, old: BookOrder, new: BookOrder) -> None:
        extra = new.remaining - old.remaining
        if extra <= 0 and new.limit_price == old.limit_price:
            return
        if not new.opening:
            position = self.cash_account.quantity(new.symbol)
            held, related = rules.held_for_orders(new.symbol, position, self.book.live())
            if extra > abs(position) - held:
                raise insufficient_quantity(new.symbol, new.remaining, abs(position), held - old.remaining, related)
            return
        price = money(self.market.quotes[new.symbol].price)
        cost = order_entry.reserve(new, price) - order_entry.reserve(old, price)
        if cost > self.buying_power():
            raise insufficient_buying_power(self.buying_power(), cost)

    def close_position(self, symbol: str, qty: Decimal | None = None, percentage: Decimal | None = None) -> VenueOrder:
        """Send a market DAY order that closes all of a position, ``qty`` of it, or ``percentage`` (0 to 100) of it.

        Raises:
            VenueError: 404 no such position; 403 shares held by open orders; whatever ``submit`` refuses.
        """
        position = self.cash_account.quantity(symbol)
        if not position:
            raise not_found("position does not exist")
        amount = abs(position)
        if percentage is not None:
            amount = (amount * percentage / 100).quantize(Decimal("1e-9")).normalize()
            amount = amount.quantize(Decimal(1)) if amount == amount.to_integral_value() else amount
        elif qty is not None:
            amount = qty
        return self.submit(VenueOrderRequest(symbol, "sell" if position > 0 else "buy", amount))

    # --- looking ----------------------------------------------------------------------------------------------------------------------

    def _find(self, order_id: str) -> BookOrder:
        order = self.book.orders.get(order_id)
        if order is None:
            raise not_found(f"order not found for {order_id}")
        return order

    def order(self, order_id: str) -> VenueOrder:
        """One order by its id; VenueError 404 if there is none."""
        return self._find(order_id).snapshot()

    def order_by_client_id(self, client_order_id: str) -> VenueOrder:
        """One order by the client's id; VenueError 404 if there is none."""
        order = self.book.by_client_id.get(client_order_id)
        if order is None:
            raise not_found("order not found")
        return order.snapshot()

    def orders(self, query: order_entry.OrderQuery | None = None, *, status: str | None = None) -> list[VenueOrder]:
        """Orders that match ``query`` (or just ``status``: open, closed, all), as Alpaca lists them."""
        asked = query or order_entry.OrderQuery()
        if status is not None:
            asked = replace(asked, status=status)
        return order_entry.select(self.book.orders.values(), asked, self.config.fidelity.held_in_open_list)

    def prices(self) -> dict[str, Decimal]:
        """Last price of every symbol that has one."""
        return self.market.last()

    def buying_power(self) -> Decimal:
        """What may still be bought."""
        return views.buying_power(self.cash_account, self.book, self.prices())

    def account(self) -> VenueAccount:
        """The account, marked at the last prices."""
        last = self.equity_history[-1][2] if self.equity_history else self.cash_account.initial_cash
        return views.view_account(self.cash_account, self.book, self.prices(), last)

    def positions(self) -> list[VenuePosition]:
        """Open positions by symbol."""
        return views.view_positions(self.cash_account, self.book, self.market.quotes)

    def fills(self, since: datetime | None = None) -> list[Fill]:
        """Executions at or after ``since``, in order."""
        return [fill for fill in self.book.fills if since is None or fill.at >= since]

    def drain(self) -> list[TradeUpdate]:
        """The trade updates since the last call."""
        updates, self.book.updates = self.book.updates, []
        return updates

    def digest(self) -> str:
        """Hash of all executions so far."""
        return digest(self.book.fills)


def _start(tape: BarTape, start: datetime | None) -> datetime:
    if start is None:
        return tape.sessions[0].open - timedelta(minutes=30)
    if start.tzinfo is None:
        raise ValueError(f"expected an aware start, found the naive {start}")
    if tape.calendar.is_open(start):
        raise ValueError(f"expected a start outside session hours, found {start}; use the close before the first session to be played")
    return to_datetime(to_ns(start))
