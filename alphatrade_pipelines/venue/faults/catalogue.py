"""Every fault this venue can play: what it does, what it takes, where it acts, and which failure of practice (F1 to F30) it rehearses.

A fault on the wire only lies on the wire: the exchange behind it stays right. A fault of the exchange really happens there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Where = Literal["request", "answer", "trade_updates", "data", "connection", "exchange"]
Value = str | int | float | bool
REQUIRED: Value = "required"
_STAGES = ("after", "before")

FAILURES: dict[int, str] = {
    1: "504 although the order was accepted",
    2: "connection dropped, or read timeout, after the order was accepted",
    3: "a request hangs forever",
    4: "429 burst, WebSocket handshakes included",
    5: "500 or 502 with an HTML body",
    6: "trade updates missing on a healthy socket",
    7: "the same fill told twice, at once or replayed",
    8: "updates out of order, a fill before the answer to its POST",
    9: "a stream gap with fills inside",
    10: "the data socket is mute",
    11: "data:null, malformed JSON, an unknown status",
    12: "the entry fills in part, its remainder is cancelled",
    13: "the stop leg gets a new id when it triggers, its sibling's end is not streamed",
    14: "both legs of a bracket fill",
    15: "DAY legs gone at the close, GTC legs aged out",
    16: "an exit refused as a wash trade",
    17: "shares still held after a cancel",
    18: "a cancel loses its race against a fill",
    19: "a replace answered 200, rejected afterwards, while the old order fills",
    20: "an accepted order is rejected later",
    21: "a halt with an open stop, reopening with a gap",
    22: "positions, account and orders lag behind the fills",
    23: "bars corrected, late, repeated, out of order",
    24: "overnight: split, symbol change, asset untradable, not easy to borrow any more",
    25: "a crash between intent and submission, or between submission and record",
    26: "a second instance: orders nobody of ours sent, the stream's only slot taken",
    27: "a clock that is off, an early close, daylight saving",
    28: "trading blocked in mid-session",
    29: "keys of another environment, an address that answers with a web page",
    30: "close-all answers 207 with failures inside",
}


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter: its unit (or the choices), its default (``REQUIRED`` = none), and the bounds of a number."""

    unit: str
    default: Value = REQUIRED
    type: type[str] | type[int] | type[float] | type[bool] = float
    choices: tuple[str, ...] = ()
    least: float = 0.0
    most: float = 1e9


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault.

    ``for_seconds`` of those that live in wall-clock protocols (requests, connections) counts wall seconds, of all others venue seconds;
    those that are not ``lasting`` happen at once and take none. ``counts``: what ``after_count``, ``every``, ``times`` and
    ``probability`` count. ``endpoint``: the default of a fault that strikes requests, None = all.
    """

    name: str
    rehearses: tuple[int, ...]
    does: str
    where: Where
    counts: str
    params: Mapping[str, Param] = field(default_factory=dict)
    endpoint: str | None = None
    lasting: bool = True

    @property
    def window(self) -> Literal["wall", "venue"]:
        """The clock ``for_seconds`` runs on."""
        return "wall" if self.where in ("request", "answer", "connection") else "venue"


def _choice(default: str, *others: str) -> Param:
    return Param("one of " + ", ".join((default, *others)), default, str, (default, *others))


def _flag(what: str, default: Value = REQUIRED) -> Param:
    return Param(f"true or false: {what}", default, bool)


def _request(name: str, rehearses: tuple[int, ...], does: str, endpoint: str | None = None, **params: Param) -> Kind:
    return Kind(name, rehearses, does, "request", "matching requests", params, endpoint)


def _answer(name: str, rehearses: tuple[int, ...], does: str, endpoint: str | None = None, **params: Param) -> Kind:
    return Kind(name, rehearses, does, "answer", "matching requests", params, endpoint)


def _update(name: str, rehearses: tuple[int, ...], does: str, **params: Param) -> Kind:
    event = Param("only this event (fill, new, canceled ...); empty = all", "", str)
    return Kind(name, rehearses, does, "trade_updates", "matching trade updates", {"event": event, **params})


def _bars(name: str, rehearses: tuple[int, ...], does: str, counts: str = "matching bars", **params: Param) -> Kind:
    return Kind(name, rehearses, does, "data", counts, params)


def _state(name: str, rehearses: tuple[int, ...], does: str, counts: str = "steps of venue time", **params: Param) -> Kind:
    return Kind(name, rehearses, does, "exchange", counts, params)


def _event(name: str, rehearses: tuple[int, ...], does: str, counts: str = "steps of venue time", **params: Param) -> Kind:
    return Kind(name, rehearses, does, "exchange", counts, params, lasting=False)


_POST = "POST /v2/orders"
_SYMBOL = Param("symbol", REQUIRED, str)
_SECONDS = 3600.0
_BODY = _choice("json", "html")

_ALL = (
    # --- requests: before the exchange sees them --------------------------------------------------------------------------------------
    _request(
        "http_error",
        (4, 5),
        "A request is answered with an error status and never reaches the exchange.",
        status=Param("HTTP status", 503, int, least=400, most=599),
        body=_BODY,
    ),
    _request(
        "rate_limited",
        (4,),
        "Requests are answered 429 with rate-limit headers, and WebSocket handshakes too.",
        reset_seconds=Param("wall seconds until the limit is said to reset", 60.0),
        handshakes=_flag("refuse WebSocket handshakes as well", True),
    ),
    _request(
        "redirect", (29,), "A request is answered 302 with an HTML page, as by a wrong address.", location=Param("URL", "/login", str)
    ),
    _request("keys_refused", (29,), "The keys are refused, on REST (403) and on both streams, as keys of another environment are."),
    _request(
        "hold",
        (25,),
        "A request is held before it reaches the exchange, or its answer after, until released by the admin or a timeout.",
        _POST,
        stage=_choice("before", "after"),
        seconds=Param("wall seconds until it goes on by itself", 60.0),
    ),
    _request(
        "hang",
        (3,),
        "A request is never answered: nothing comes for `seconds`, then the connection is cut.",
        stage=_choice("before", "after"),
        seconds=Param("wall seconds", _SECONDS),
    ),
    _request(
        "drop",
        (2,),
        "The connection is cut without an answer, after (or before) the exchange has acted.",
        _POST,
        stage=_choice(*_STAGES),
    ),
    _request(
        "stale_views",
        (22,),
        "Account, positions and orders over REST show the state of `lag_seconds` ago.",
        lag_seconds=Param("venue seconds", 5.0, least=0.001),
        view=_choice("all", "account", "positions", "orders"),
    ),
    _request(
        "clock_skew",
        (27,),
        "GET /v2/clock answers with a time that is off.",
        "GET /v2/clock",
        seconds=Param("venue seconds, negative = behind", 300.0, least=-1e6, most=1e6),
    ),
    _request(
        "close_all_fails",
        (30,),
        "A position (or an order) of a close-all (or cancel-all) fails inside the 207 answer and stays.",
        "DELETE /v2/positions",
        status=Param("HTTP status of the item", 500, int, least=400, most=599),
    ),
    # --- answers: after the exchange has acted ----------------------------------------------------------------------------------------
    _answer(
        "error_after_accept",
        (1, 5),
        "The exchange acts on a request, then the answer is replaced by an error.",
        _POST,
        status=Param("HTTP status", 504, int, least=400, most=599),
        body=_BODY,
    ),
    _answer(
        "delay_answer",
        (8,),
        "The exchange acts and tells the streams; the answer comes `seconds` later.",
        _POST,
        seconds=Param("wall seconds", 1.0),
    ),
    _answer(
        "garble_answer",
        (11,),
        "The exchange acts; the answer is cut short, empty, null, or names a status nobody has heard of.",
        how=_choice("malformed", "empty", "null", "unknown_status"),
    ),
    # --- trade updates ----------------------------------------------------------------------------------------------------------------
    _update("mute_trade_updates", (6,), "Trade updates are not sent, on a socket that stays healthy."),
    _update(
        "duplicate_trade_updates",
        (7,),
        "A trade update is sent again, at once or after `later` further ones.",
        copies=Param("repeats", 1, int, least=1, most=100),
        later=Param("further updates in between", 0, int, most=1000),
    ),
    _update(
        "reorder_trade_updates",
        (8,),
        "A trade update is held back until `by` later ones have been sent.",
        by=Param("later updates that overtake it", 1, int, least=1, most=1000),
    ),
    _update(
        "garble_trade_updates",
        (11,),
        "A trade update arrives as data:null, as broken JSON, with an order status or an event nobody has heard of.",
        how=_choice("null", "malformed", "unknown_status", "unknown_event"),
    ),
    # --- connections ------------------------------------------------------------------------------------------------------------------
    Kind(
        "cut_streams",
        (9,),
        "Stream connections end: closed with 1001 or aborted; their slots stay taken (406) for `zombie_seconds`.",
        "connection",
        "steps of venue time",
        {
            "stream": _choice("both", "trade_updates", "data"),
            "how": _choice("close", "abort"),
            "zombie_seconds": Param("wall seconds during which newcomers are answered 406", 0.0),
        },
    ),
    Kind(
        "slot_taken",
        (9, 26),
        "A newcomer on a stream is answered 406 connection limit exceeded: somebody else has the only slot.",
        "connection",
        "attempts to authenticate",
        {"stream": _choice("both", "trade_updates", "data")},
    ),
    # --- market data ------------------------------------------------------------------------------------------------------------------
    _bars("mute_data", (10,), "The data socket stays open and silent.", "messages of market data"),
    _bars(
        "garble_data",
        (11,),
        "A message of market data arrives as a frame that cannot be read, or with a type nobody has heard of.",
        "messages of market data",
        how=_choice("malformed", "unknown_type"),
    ),
    _bars(
        "late_bars",
        (23,),
        "A bar is held back until `by` later bars of its symbol have been sent: late and out of order.",
        by=Param("later bars that overtake it", 1, int, least=1, most=1000),
    ),
    _bars("duplicate_bars", (23,), "A bar is sent again.", copies=Param("repeats", 1, int, least=1, most=100)),
    _bars(
        "corrected_bars",
        (23,),
        "A bar is first sent with a wrong close and volume; the right one follows with the next bars (updatedBars; daily: dailyBars).",
        percent=Param("percent by which the close is wrong", 1.0, least=-50, most=50),
    ),
    _bars(
        "corrected_trades",
        (23,),
        "A trade is sent with a wrong price, then corrected on the corrections channel.",
        "matching trades",
        percent=Param("percent by which the price is wrong", 1.0, least=-50, most=50),
    ),
    # --- the exchange -----------------------------------------------------------------------------------------------------------------
    _event(
        "partial_then_cancel",
        (12,),
        "An entry fills in part and its remainder is cancelled by the venue: the legs are dead, the filled part is naked.",
        "entries filled in part",
    ),
    _state("stop_gets_new_id", (13,), "A stop leg that triggers is replaced by a new id; the end of its sibling is not streamed."),
    _event(
        "both_legs_fill", (14,), "The next stop elected in `symbol` does not withdraw its sibling in time: both may fill.", symbol=_SYMBOL
    ),
    _event("legs_gone", (15,), "The protective legs are cancelled at the close of a session, as DAY legs are.", "closes of sessions"),
    _state(
        "gtc_ages_out", (15,), "GTC orders sent from now on end after `days` instead of 90.", days=Param("days", 1, int, least=1, most=90)
    ),
    _event(
        "foreign_order",
        (16, 26),
        "An order nobody of ours sent appears in the account.",
        symbol=_SYMBOL,
        side=_choice("buy", "sell"),
        qty=Param("shares", 1.0, least=1e-9),
        limit_price=Param("dollars; 0 = a market order", 0.0),
        time_in_force=_choice("day", "gtc"),
    ),
    _event(
        "manual_trade",
        (26,),
        "The position changes without an order of ours.",
        symbol=_SYMBOL,
        qty=Param("shares, negative = sold", REQUIRED, least=-1e9),
    ),
    _state(
        "cancel_lag",
        (17, 18),
        "A cancelled order stays pending_cancel for `seconds`: it holds its shares and may still fill.",
        seconds=Param("venue seconds", 30.0, least=0.001),
    ),
    _state(
        "replace_lag",
        (19,),
        "A replace is answered 200 and stays pending for `seconds`; if the old order fills first, the new one is rejected.",
        seconds=Param("venue seconds", _SECONDS, least=0.001),
    ),
    _event("reject_later", (20,), "An order is accepted and rejected afterwards, without a reason.", "accepted orders"),
    _state(
        "halt",
        (21,),
        "Trading in `symbol` halts for `for_seconds`: nothing fills, then it reopens with a jump.",
        symbol=_SYMBOL,
        code=Param("halt code", "T1", str),
        reason=Param("text", "News pending", str),
    ),
    _state(
        "asset",
        (24,),
        "An asset changes: not tradable, not shortable, hard to borrow, not fractionable.",
        symbol=_SYMBOL,
        tradable=_flag("may be traded", True),
        shortable=_flag("may be sold short", True),
        easy_to_borrow=_flag("easy to borrow", True),
        fractionable=_flag("fractions allowed", True),
    ),
    _event(
        "symbol_change",
        (24,),
        "A name change is announced in the corporate actions; the old symbol stops trading before the next open.",
        symbol=_SYMBOL,
        new_symbol=Param("symbol", REQUIRED, str),
    ),
    _event(
        "split",
        (24,),
        "`symbol` splits before the next session opens: prices, positions and the rest of the tape follow.",
        symbol=_SYMBOL,
        ratio=Param("new shares for each old one", 2.0, least=0.001, most=1000),
    ),
    _event(
        "early_close", (27,), "The next session (today, before the open) closes early.", time=Param("New York time HH:MM", "13:00", str)
    ),
    _state(
        "restrict",
        (28,),
        "The account is restricted, for `for_seconds` or for good.",
        what=_choice("trading_blocked", "account_blocked", "trade_suspended_by_user", "closing_only"),
    ),
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}
