"""What happens TO an account and a market: halts, restrictions, borrow, rejections, strangers. Pulled by faults and tests, never by a
client; each takes effect at the exchange's present time and is told as Alpaca would tell it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from alphatrade_pipelines.venue.exchange import admission
from alphatrade_pipelines.venue.exchange.errors import invalid, not_found
from alphatrade_pipelines.venue.exchange.orders import BookOrder, VenueOrder, VenueOrderRequest

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.exchange.exchange import Exchange


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the market says of a symbol: ``status`` (data: sc, sm, rc, rm as on the wire), ``luld`` (u, d, i)."""

    kind: str
    symbol: str
    at: datetime
    data: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Halt:
    """A symbol that does not trade, since when and why."""

    code: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class OutsideTrade:
    """A change of position that no order of ours made: signed quantity, price, fee."""

    at: datetime
    symbol: str
    qty: Decimal
    price: Decimal
    fee: Decimal


class Levers:
    """Acts on one exchange. Every method raises VenueError 404 or 422 for a symbol or an order that is not there."""

    def __init__(self, venue: Exchange) -> None:
        self._venue = venue

    # --- the market -----------------------------------------------------------------------------------------------------------------

    def halt(self, symbol: str, code: str = "T1", reason: str = "News pending", until: datetime | None = None) -> None:
        """Stop trading in ``symbol``: orders stay working, nothing fills; at ``until`` it resumes by itself."""
        venue = self._venue
        self._check_symbol(symbol)
        if until is not None and until <= venue.now:
            raise invalid(f"expected until after {venue.now}, found {until}")
        halt = Halt(code, reason, venue.now)
        venue.halts[symbol] = halt
        venue.market.halt(symbol)
        self._status(symbol, "H", "Trading Halt", code, reason)
        if until is not None:
            venue.schedule.at(until, lambda: self._resume_from(symbol, halt))

    def _resume_from(self, symbol: str, halt: Halt) -> None:
        if self._venue.halts.get(symbol) is halt:
            self.resume(symbol)

    def resume(self, symbol: str) -> None:
        """Trade ``symbol`` again: its next price comes as a jump from the last one before the halt, over stops and limits alike."""
        venue = self._venue
        if symbol not in venue.halts:
            raise invalid(f"{symbol} is not halted")
        halt = venue.halts.pop(symbol)
        venue.market.resume(symbol)
        self._status(symbol, "T", "Trading Resumption", halt.code, halt.reason)

    def luld(self, symbol: str, up: Decimal, down: Decimal, indicator: str = "B") -> None:
        """Announce limit-up limit-down bands."""
        self._check_symbol(symbol)
        self._venue.notices.append(Notice("luld", symbol, self._venue.now, {"u": up, "d": down, "i": indicator}))

    def _status(self, symbol: str, code: str, text: str, reason_code: str, reason: str) -> None:
        data: dict[str, object] = {"sc": code, "sm": text, "rc": reason_code, "rm": reason}
        self._venue.notices.append(Notice("status", symbol, self._venue.now, data))

    def scale_volume(self, symbol: str, factor: float) -> None:
        """Let the symbol trade ``factor`` times the volume of the tape (0 dries it up, 1 restores it)."""
        self._check_symbol(symbol)
        if not factor >= 0:
            raise invalid(f"expected factor >= 0, found {factor}")
        self._venue.market.quotes[symbol].volume_scale = factor

    # --- the account ----------------------------------------------------------------------------------------------------------------

    def restrict(
        self,
        trading_blocked: bool | None = None,
        account_blocked: bool | None = None,
        trade_suspended_by_user: bool | None = None,
        closing_only: bool | None = None,
        no_shorting: bool | None = None,
        no_fractions: bool | None = None,
    ) -> None:
        """Set or lift restrictions of the account; None leaves one as it is."""
        named = {
            "trading_blocked": trading_blocked,
            "account_blocked": account_blocked,
            "trade_suspended_by_user": trade_suspended_by_user,
            "closing_only": closing_only,
            "no_shorting": no_shorting,
            "no_fractions": no_fractions,
        }
        venue = self._venue
        venue.restrictions = replace(venue.restrictions, **{name: value for name, value in named.items() if value is not None})

    def asset(
        self,
        symbol: str,
        tradable: bool | None = None,
        shortable: bool | None = None,
        easy_to_borrow: bool | None = None,
        fractionable: bool | None = None,
    ) -> None:
        """Change an asset's flags; None leaves one as it is. Hard to borrow: open short orders are cancelled before the next open."""
        self._check_symbol(symbol)
        named = {"tradable": tradable, "shortable": shortable, "easy_to_borrow": easy_to_borrow, "fractionable": fractionable}
        venue = self._venue
        venue.assets[symbol] = replace(venue.assets[symbol], **{name: value for name, value in named.items() if value is not None})

    def manual_trade(self, symbol: str, signed_qty: Decimal) -> OutsideTrade:
        """Change the position at the last price, by no order of this account: cash and position move, no update tells it."""
        price = self._venue.prices().get(symbol)
        if price is None:
            raise not_found(f"asset not found for {symbol}")
        if not signed_qty:
            raise invalid("expected a quantity other than 0")
        account = self._venue.cash_account
        fee = account.trade(symbol, 1 if signed_qty > 0 else -1, abs(signed_qty), price)
        trade = OutsideTrade(self._venue.now, symbol, signed_qty, price, fee)
        self._venue.outside_trades.append(trade)
        return trade

    # --- orders ---------------------------------------------------------------------------------------------------------------------

    def reject(self, order_id: str) -> None:
        """The market refuses an order it had accepted; its legs are cancelled."""
        self._venue.book.reject(self._live(order_id))

    def cancel(self, order_id: str) -> None:
        """The venue cancels what is left of an order, and its group with it."""
        self._venue.book.cancel_group(self._live(order_id))

    def foreign_order(self, request: VenueOrderRequest) -> VenueOrder:
        """An order on this account that our client never sent: it obeys the rules and is told like any other, but is no receipt of ours.

        Raises:
            VenueError: refused.
        """
        desk = self._venue.desk
        return desk.route(desk.enter(request, admission.check_order(self._venue, request)))

    def both_legs(self, symbol: str, on: bool = True) -> None:
        """The next elected stop leg of ``symbol`` does not withdraw its profit leg, which works on until the close: both may fill."""
        self._check_symbol(symbol)
        (self._venue.book.racing.add if on else self._venue.book.racing.discard)(symbol)

    def _live(self, order_id: str) -> BookOrder:
        order = self._venue.book.orders.get(order_id)
        if order is None:
            raise not_found(f"order not found for {order_id}")
        if not order.is_live:
            raise invalid(f'order is already in "{order.status}" state')
        return order

    def _check_symbol(self, symbol: str) -> None:
        if symbol not in self._venue.assets:
            raise not_found(f"asset not found for {symbol}")
