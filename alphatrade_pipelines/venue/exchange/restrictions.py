"""What may be traded by whom: the flags of each asset, the restrictions of the account, and the legacy day-trade count."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from alphatrade_pipelines.venue.exchange.orders import BookOrder, Fill

_PDT_EQUITY = Decimal(25_000)
_PDT_SESSIONS, _PDT_TRADES = 5, 3


@dataclass(frozen=True, slots=True)
class AssetFlags:
    """What Alpaca's asset record says of a symbol."""

    tradable: bool = True
    shortable: bool = True
    easy_to_borrow: bool = True
    fractionable: bool = True
    marginable: bool = True


@dataclass(frozen=True, slots=True)
class Restrictions:
    """Why an account may not trade: ``trading_blocked``, ``account_blocked`` and ``trade_suspended_by_user`` stop every order,
    ``closing_only`` those that open exposure, ``no_shorting`` short sales, ``no_fractions`` orders that open parts of a share."""

    trading_blocked: bool = False
    account_blocked: bool = False
    trade_suspended_by_user: bool = False
    closing_only: bool = False
    no_shorting: bool = False
    no_fractions: bool = False


class DayTrades:
    """Day trades of the last five sessions, as the abolished pattern-day-trader rule counted them: a symbol bought and sold on one day,
    once for each closing order."""

    def __init__(self) -> None:
        self._opened: set[str] = set()
        self._counted: set[str] = set()
        self._sessions: deque[int] = deque(maxlen=_PDT_SESSIONS - 1)

    @property
    def count(self) -> int:
        """Day trades in the last five sessions."""
        return sum(self._sessions) + len(self._counted)

    def executed(self, order: BookOrder, fill: Fill, before: Decimal) -> None:
        """Take note of an execution; ``before``: the position it met."""
        if order.sign * before >= 0:
            self._opened.add(fill.symbol)
        elif fill.symbol in self._opened:
            self._counted.add(order.id)

    def close_session(self) -> None:
        """Today becomes one of the last five."""
        self._sessions.append(len(self._counted))
        self._opened.clear()
        self._counted.clear()

    def refuses(self, symbol: str, equity: Decimal) -> bool:
        """Would closing ``symbol`` now be one day trade too many for an account of this equity."""
        return equity < _PDT_EQUITY and symbol in self._opened and self.count >= _PDT_TRADES
