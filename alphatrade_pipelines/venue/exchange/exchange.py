"""The exchange: one account, one tape, one order of events. Pure: no I/O, no clock, no chance; the same requests at the same steps
give the same executions, in process (backtest) or behind the server (paper)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal

from alphatrade_pipelines.venue.exchange import order_entry, session_events, views
from alphatrade_pipelines.venue.exchange.account import Account
from alphatrade_pipelines.venue.exchange.book import Book
from alphatrade_pipelines.venue.exchange.config import ExchangeConfig, Step
from alphatrade_pipelines.venue.exchange.desk import OrderDesk
from alphatrade_pipelines.venue.exchange.errors import not_found
from alphatrade_pipelines.venue.exchange.fidelity import Fidelity
from alphatrade_pipelines.venue.exchange.hours import NEW_YORK, TradingHours
from alphatrade_pipelines.venue.exchange.ledger import Ledger
from alphatrade_pipelines.venue.exchange.levers import Halt, Levers, Notice, OutsideTrade
from alphatrade_pipelines.venue.exchange.matching import Matcher
from alphatrade_pipelines.venue.exchange.orders import BookOrder, Fill, TradeUpdate, VenueOrder, VenueOrderRequest
from alphatrade_pipelines.venue.exchange.profiles import FillProfile, profile_named
from alphatrade_pipelines.venue.exchange.quotes import Prices, Quote, money
from alphatrade_pipelines.venue.exchange.restrictions import AssetFlags, DayTrades, Restrictions
from alphatrade_pipelines.venue.exchange.schedule import Schedule
from alphatrade_pipelines.venue.exchange.tape import BarTape, CorporateAction, Point, TapeBar, to_datetime, to_ns
from alphatrade_pipelines.venue.exchange.views import VenueAccount, VenuePosition

_EXTENDED = ("pre_market", "after_hours")


class Exchange:
    """See the module. ``tape`` and ``config`` are read-only; ``book``, ``cash_account``, ``ledger``, ``assets``, ``restrictions`` and
    ``halts`` are open to readers; ``levers`` move what a client cannot; ``fidelity`` may be swapped at any time."""

    def __init__(self, tape: BarTape, config: ExchangeConfig | None = None) -> None:
        """Raises ValueError for a naive start, a start inside a session, or nothing to play."""
        self.tape = tape
        self.config = config or ExchangeConfig()
        profile = self.config.profile
        self.profile = profile if isinstance(profile, FillProfile) else profile_named(profile)
        if not self.config.cash > 0:
            raise ValueError(f"expected cash > 0, found {self.config.cash}")
        if not self.config.multiplier >= 1:
            raise ValueError(f"expected multiplier >= 1, found {self.config.multiplier}")
        self.now = _start(tape, self.config.start)
        number = self.config.account_number or f"PASIM{self.config.seed:07d}"
        self.cash_account = Account(number, self.config.cash, self.config.multiplier, self.profile.fees)
        self.book = Book(self.cash_account, self.now, self.config.fidelity)
        self.matcher = Matcher(self.book, self.profile, self.config.seed, tape.timeframe.minutes * 60.0)
        self.ledger = Ledger()
        self.market_open = False
        self.market = Prices(tape, self.profile, self.now, self.config.seed, self.config.path_points)
        self.hours = TradingHours(tape.calendar)
        self.schedule = Schedule()
        self.desk = OrderDesk(self)
        self.levers = Levers(self)
        self.assets = {symbol: AssetFlags() for symbol in tape.symbols}
        self.restrictions = Restrictions()
        self.halts: dict[str, Halt] = {}
        self.notices: list[Notice] = []
        self.outside_trades: list[OutsideTrade] = []
        self.day_trades = DayTrades()
        self.book.on_fill = self._executed
        self.equity_history: list[tuple[date, datetime, Decimal]] = []
        self.dividends: list[tuple[datetime, CorporateAction, Decimal, Decimal]] = []
        self._points = self._all_points()
        self._next = next(self._points, None)
        if self._next is None:
            raise ValueError(f"nothing to play: no session of the tape between {self.now} and {self.config.end or 'its end'}")

    @property
    def fidelity(self) -> Fidelity:
        """The switches in force."""
        return self.book.fidelity

    @fidelity.setter
    def fidelity(self, fidelity: Fidelity) -> None:
        self.book.fidelity = fidelity

    # --- time ---------------------------------------------------------------------------------------------------------------------

    @property
    def next_open(self) -> datetime:
        """The first session open after now."""
        return self.tape.calendar.next_open(self.now)

    @property
    def next_close(self) -> datetime:
        """The close of the current session, else of the next."""
        return self.hours.next_close(self.now)

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
            actions = session_events.corporate_actions(self, point.session)
        elif point.kind == "session_open":
            session_events.open_session(self)
        bars = self._walk(point)
        if point.kind == "session_open":
            session_events.after_opening(self)
        elif point.kind == "session_close":
            session_events.close_session(self, point)
        return Step(point.at, point.kind, bars, actions)

    def reread_tape(self) -> None:
        """The days to come have changed on the tape: plan them anew. The session that is open goes on as planned."""
        self.hours = TradingHours(self.tape.calendar)
        if self._next is not None and self._next.session >= self.tape.first_session_after(self.now):
            self._points = (point for point in self._all_points() if point.at > self.now)
            self._next = next(self._points, None)

    def _all_points(self) -> Iterator[Point]:
        for session in range(self.tape.first_session_after(self.now), len(self.tape.sessions)):
            if self.config.end is not None and self.tape.sessions[session].open > self.config.end:
                return
            yield from (point for point in self.tape.points(session, self.config.path_points) if point.at >= self.now)

    def _pass_time(self, to: datetime) -> None:
        while (due := self.schedule.pop(to)) is not None:
            self._flow(due[0])
            due[1]()
        self._flow(to)

    def _flow(self, to: datetime) -> None:
        if self.market_open and to > self.now:
            self.ledger.pass_time(self.now, to, self.cash_account.positions(), self.book.working)
        self.now = self.book.now = max(to, self.now)

    def _executed(self, order: BookOrder, fill: Fill, before: Decimal) -> None:
        self.day_trades.executed(order, fill, before)
        self.ledger.executed(order, fill, before)

    # --- prices -------------------------------------------------------------------------------------------------------------------

    def _walk(self, point: Point) -> tuple[TapeBar, ...]:
        self.book.extended = point.kind in _EXTENDED
        self.book.auction = {"session_open": "opening", "session_close": "closing"}.get(point.kind)
        bars = self.market.walk(point, self.cash_account.quantity, self._meet)
        self.book.auction = None
        return bars

    def _meet(self, quote: Quote, start: float, end: float, jump: bool) -> None:
        if self.book.working.get(quote.symbol):
            self.matcher.walk(quote, start, end, jump)

    def trading_now(self, order: BookOrder) -> bool:
        """May ``order`` reach the market at once: in the session, or in extended hours if it asks for them."""
        return self.market_open or (order.extended_hours and self.hours.phase(self.now) in _EXTENDED)

    # --- orders ---------------------------------------------------------------------------------------------------------------------

    def submit(self, request: VenueOrderRequest) -> VenueOrder:
        """Take an order. The answer is the order as accepted; whatever happens to it comes as updates (``drain``), even at once.

        Raises:
            VenueError: refused, with Alpaca's HTTP status, code and message.
        """
        return self.desk.submit(request)

    def cancel(self, order_id: str) -> None:
        """Cancel an order and what is open of its group. The confirmation comes as an update, after ``cancel_lag_seconds``.

        Raises:
            VenueError: 404 unknown order; 422 already terminal or pending.
        """
        self.desk.cancel(self._find(order_id))

    def replace(
        self,
        order_id: str,
        *,
        qty: Decimal | None = None,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        time_in_force: str | None = None,
        client_order_id: str | None = None,
        trail: Decimal | None = None,
    ) -> VenueOrder:
        """Replace an order by one with a NEW id; the old one ends ``replaced``. Legs: prices only. With ``replace_lag_seconds`` both are
        pending first, and the new one ends ``rejected`` if the old one fills before.

        Raises:
            VenueError: 404 unknown; 422 not replaceable in its state, or the change breaks a rule; 403 no funds or shares for more.
        """
        changes = order_entry.Changes(qty, limit_price, stop_price, time_in_force, client_order_id, trail)
        return self.desk.replace(self._find(order_id), changes)

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
            # a position in whole shares is closed in whole shares (Alpaca docs of DELETE /v2/positions/{symbol})
            unit = Decimal(1) if amount == amount.to_integral_value() else Decimal("1e-9")
            amount = (amount * percentage / 100).quantize(unit, ROUND_DOWN)
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
        return order_entry.select(self.book.orders, self.book.live(), asked, self.fidelity.held_in_open_list)

    def prices(self) -> dict[str, Decimal]:
        """Last price of every symbol that has one."""
        return self.market.last()

    def prices_held(self) -> dict[str, Decimal]:
        """Last price of every symbol that is held."""
        return {symbol: money(self.market.quotes[symbol].price) for symbol in self.cash_account.holdings}

    def half_spread(self, price: Decimal) -> Decimal:
        """Half the spread the profile quotes at ``price``, in dollars."""
        return self.market.half_spread(price)

    def equity(self) -> Decimal:
        """Cash and positions at the last prices."""
        return self.cash_account.equity(self.prices_held())

    def buying_power(self) -> Decimal:
        """What may still be bought."""
        return self.cash_account.buying_power(self.prices_held(), self.book.claims.reserved)

    def account(self) -> VenueAccount:
        """The account, marked at the last prices; its ``last_equity`` is the close of an earlier day, in the evening of a session too."""
        today = self.now.astimezone(NEW_YORK).date()
        last = next((equity for day, _, equity in reversed(self.equity_history) if day < today), self.cash_account.initial_cash)
        standing = (self.restrictions, self.day_trades.count)
        return views.view_account(self.cash_account, self.book, self.prices_held(), last, standing)

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

    def drain_notices(self) -> list[Notice]:
        """What the market has said since the last call."""
        notices, self.notices = self.notices, []
        return notices

    def digest(self) -> str:
        """Hash of all executions so far."""
        return self.ledger.digest(self.book.fills)


def _start(tape: BarTape, start: datetime | None) -> datetime:
    if start is None:
        return tape.sessions[0].open - timedelta(minutes=30)
    if start.tzinfo is None:
        raise ValueError(f"expected an aware start, found the naive {start}")
    if tape.calendar.is_open(start):
        raise ValueError(f"expected a start outside session hours, found {start}; use the close before the first session to be played")
    return to_datetime(to_ns(start))
