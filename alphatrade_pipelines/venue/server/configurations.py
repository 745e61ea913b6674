"""/v2/account/configurations: what an account holder may set, and what it does to the exchange."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from alphatrade_pipelines.venue.exchange.errors import malformed
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.server import wire
from alphatrade_pipelines.venue.server.wire import Json

_MULTIPLIERS = ("1", "2", "4")
_EMAILS = ("all", "none")
_FLAGS = ("fractional_trading", "no_shorting", "suspend_trade", "ptp_no_exception_entry", "disable_overnight_trading")
_RETIRED = ("dtbp_check", "pdt_check")  # gone from Alpaca's answers on 2026-07-06; the SDK still sends them as null
_CHECKS = ("both", "entry", "exit")
_OPTION_LEVELS = (0, 1, 2, 3)


class Configurations:
    """The settings of one account. ``suspend_trade``, ``no_shorting``, ``fractional_trading`` and ``max_margin_multiplier`` bind the
    exchange; e-mails, PTPs, options and overnight trading do not exist here, so that those settings are kept and nothing follows."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._granted = exchange.cash_account.multiplier
        self._own: Json = {
            "fractional_trading": True,
            "trade_confirm_email": "none",
            "ptp_no_exception_entry": False,
            "disable_overnight_trading": False,
            "max_options_trading_level": None,
            "max_margin_multiplier": wire.text(self._granted),
        }

    def body(self) -> Json:
        """GET."""
        restrictions = self._exchange.restrictions
        return {
            **self._own,
            "fractional_trading": not restrictions.no_fractions,
            "no_shorting": restrictions.no_shorting,
            "suspend_trade": restrictions.trade_suspended_by_user,
        }

    def patch(self, changes: Mapping[str, Any]) -> Json:
        """PATCH: all of ``changes`` or none. Raises VenueError 422 for an unknown setting or value."""
        given = {name: value for name, value in changes.items() if value is not None}
        for name, value in given.items():
            _check(name, value)
        multiplier = given.get("max_margin_multiplier")
        if multiplier is not None:
            self._exchange.cash_account.multiplier = min(self._granted, Decimal(multiplier))
        fractional = given.get("fractional_trading")
        self._exchange.levers.restrict(
            trade_suspended_by_user=given.get("suspend_trade"),
            no_shorting=given.get("no_shorting"),
            no_fractions=None if fractional is None else not fractional,
        )
        self._own |= {name: value for name, value in given.items() if name in self._own}
        return self.body()


def _check(name: str, value: object) -> None:
    allowed: tuple[object, ...]
    if name in _FLAGS:
        allowed = (True, False)
    else:
        found = {
            "max_margin_multiplier": _MULTIPLIERS,
            "trade_confirm_email": _EMAILS,
            "max_options_trading_level": _OPTION_LEVELS,
            **dict.fromkeys(_RETIRED, _CHECKS),
        }.get(name)
        if found is None:
            raise malformed(f"unknown configuration {name[:40]!r}")
        allowed = found
    if not any(type(value) is type(word) and value == word for word in allowed):
        raise malformed(f"{name} must be one of {', '.join(str(word).lower() for word in allowed)}")
