"""Every rule of Alpaca that is uncertain or varies, as a named switch. Defaults follow the better source; each can be turned over."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import Any

_CHOICES = {"market_closed": ("queue", "reject"), "day_end_status": ("expired", "canceled")}


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Switches of the exchange (source of the default in brackets; "unverified" = nobody outside Alpaca has written it down).

    ``held_in_open_list``: held legs are listed under status=open (alpaca-trade-api-python #322 says they were not; unverified today).
    ``stream_sibling_cancel``: the cancel of a leg whose sibling filled is streamed (alpaca-py #198: it was not; default: it is).
    ``sl_trigger_replaces_id``: an elected stop leg gets a new id, it and the profit leg end ``replaced`` (alpaca-py #198 of 2022,
    alpaca-backtrader-api #80 of 2020; default: plain fill and cancel).
    ``duplicate_client_id_status``: HTTP status of a reused client_order_id (measured on paper 2026-08: 422).
    ``partial_fill_probability``: chance that the first execution of an order is a random part of it (Alpaca paper: 0.10; default 0: the
    volume of the tape decides).
    ``wash_check``: refuse orders that could trade with one's own (Alpaca "User Protection", 2026-09).
    ``pattern_day_trader``: the rule FINRA abolished in 2026, 403/40310100 on the fourth day trade below $25,000 (default off).
    ``margin_calls``: a maintenance deficit unmet for five sessions freezes the account to closing orders for 90 days (Alpaca "The Intraday
    Margin Rule", 2026-04-27).
    ``rest_lag_seconds``: the server shows positions and account this much late (measured: up to 0.33 s; default 0).
    ``market_closed``: orders out of hours are queued for the open (Alpaca) or refused.
    ``day_end_status``: how a DAY order ends at the close (docs say "canceled automatically", the event is "expired"; unverified).
    ``gtc_days``: age at which GTC orders are cancelled, by the job of 16:15 New York (Alpaca: 90).
    ``cancel_lag_seconds``: a cancel is pending so long and the order may still fill (forum 813: seconds; default 0).
    ``overnight_cancel_waits``: a cancel after hours is pending until the next open (forum 813: seen; default off).
    ``replace_lag_seconds``: a replacement is pending so long; if the old order fills first the new one is rejected (docs of PATCH).
    ``buy_stop_converts``: a buy stop becomes a stop-limit 4 % (below $50) or 2.5 % above its stop (Alpaca docs).
    ``leg_tif_inherited``: legs have the time in force of their parent whatever they ask for (Alpaca-API #283).
    ``both_legs_may_fill``: an elected stop does not withdraw the profit leg, which may fill too (documented for fast markets; default off).
    ``held_replaceable``: the prices of a held leg can be replaced (reported to work; inferred).
    ``oto_replaceable``: orders of an OTO can be replaced (Alpaca docs: not supported).
    ``special_tif``: IOC, FOK, OPG and CLS are taken (Alpaca: on request; today's default unverified).
    """

    held_in_open_list: bool = True
    stream_sibling_cancel: bool = True
    sl_trigger_replaces_id: bool = False
    duplicate_client_id_status: int = 422
    partial_fill_probability: float = 0.0
    wash_check: bool = True
    pattern_day_trader: bool = False
    margin_calls: bool = True
    rest_lag_seconds: float = 0.0
    market_closed: str = "queue"
    day_end_status: str = "expired"
    gtc_days: int = 90
    cancel_lag_seconds: float = 0.0
    overnight_cancel_waits: bool = False
    replace_lag_seconds: float = 0.0
    buy_stop_converts: bool = True
    leg_tif_inherited: bool = True
    both_legs_may_fill: bool = False
    held_replaceable: bool = True
    oto_replaceable: bool = False
    special_tif: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError for a value a switch cannot have."""
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"expected {name} out of {allowed}, found {getattr(self, name)!r}")
        for name in ("rest_lag_seconds", "cancel_lag_seconds", "replace_lag_seconds"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"expected {name} >= 0, found {getattr(self, name)}")
        if not 0 <= self.partial_fill_probability <= 1:
            raise ValueError(f"expected partial_fill_probability between 0 and 1, found {self.partial_fill_probability}")
        if self.gtc_days < 1:
            raise ValueError(f"expected gtc_days >= 1, found {self.gtc_days}")
        if not 400 <= self.duplicate_client_id_status <= 499:
            raise ValueError(f"expected duplicate_client_id_status between 400 and 499, found {self.duplicate_client_id_status}")

    @classmethod
    def of(cls, values: dict[str, object]) -> Fidelity:
        """Switches from texts or TOML values by name, the others at their defaults.

        Raises:
            ValueError: unknown switch, or a value of the wrong kind.
        """
        known = {field.name: field.default for field in fields(cls)}
        for name in values:
            if name not in known:
                raise ValueError(f"expected a fidelity switch out of {', '.join(known)}, found {name!r}")
        typed: dict[str, Any] = {name: _value(name, value, known[name]) for name, value in values.items()}
        return cls(**typed)


def _value(name: str, value: object, default: object) -> object:
    if isinstance(default, bool):
        if str(value).lower() not in ("true", "false"):
            raise ValueError(f"expected {name} to be true or false, found {value!r}")
        return str(value).lower() == "true"
    if isinstance(default, str):
        return str(value)
    try:
        number = Decimal(str(value))
        if not number.is_finite() or isinstance(value, bool) or (isinstance(default, int) and number != int(number)):
            raise InvalidOperation
    except InvalidOperation:
        raise ValueError(f"expected {name} to be a {'whole ' if isinstance(default, int) else ''}number, found {value!r}") from None
    return type(default)(number)  # type: ignore[call-arg]
