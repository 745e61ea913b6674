"""The broker behind Alpaca's protocol, through the unmodified alpaca-py.

Capabilities used: market, limit, stop and stop-limit orders; DAY and GTC; bracket (entry) and OCO (exit); fractional market orders
(to sell a remainder); cancel; replace; close a position; look-up by client order id; positions; orders with nested legs; FILL activities;
clock; corporate actions. Not used: notional orders, extended hours, trailing stops, cancel-all and close-all (their mixed 207 answers
name no order of ours; the core closes symbol by symbol). Of what the account holds beside US equities (crypto, options) nothing is shown.

Every mutation ends CONFIRMED, REFUSED, UNKNOWN, UNSENT (no connection: the broker has nothing) or DENIED (the SDK cannot express it), and
is sent at most once per call: what to do about it is the core's decision.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import requests
import structlog

from alphatrade_pipelines.live import wire
from alphatrade_pipelines.live.bystanders import Bystanders
from alphatrade_pipelines.live.endpoints import Credentials, Endpoints, check_endpoints
from alphatrade_pipelines.live.throttle import Lane, Throttle, Valve
from alphatrade_pipelines.live.transport import (
    AdapterFactory,
    BrokerRefusedError,
    BrokerUnavailableError,
    Failure,
    Reach,
    TimeoutAdapter,
    failure_of,
    harden,
    read,
)
from alphatrade_pipelines.trading.commands import CancelOrder, ClosePosition, Command, ProbeOrder, ReadBroker, ReplaceOrder, SubmitOrder
from alphatrade_pipelines.trading.domain import AccountState, AssetState, BrokerOrder, Execution, OrderRequest
from alphatrade_pipelines.trading.events import BrokerSeen, CancelEnded, CloseEnded, Event, OrderProbed, Outcome, ReplaceEnded, SubmitEnded
from alphatrade_pipelines.trading.ids import names_entry

log = structlog.get_logger(__name__)
OUTCOMES = {Reach.NEVER_SENT: Outcome.UNSENT, Reach.ANSWERED: Outcome.REFUSED, Reach.UNKNOWN: Outcome.UNKNOWN}
# Alpaca allows 200 a minute for a key
REQUESTS_PER_MINUTE = 180
ORDERS_PAGE = 500
FILLS_PAGE = 100
# re-read this much before the last known moment: a REST view may lag what the stream already told
OVERLAP = timedelta(minutes=10)
# Alpaca may file a dividend under its later processing day: ask further, keep by ex-date
PROCESSING_DELAY = timedelta(days=120)


class Broker(Protocol):
    """What a session needs from a broker; every call blocks. Orders (``execute``), reads (``execute`` of a ReadBroker) and glances
    (``account``, ``clock``, ``corporate_actions``) and listings (``assets``) may run side by side, each kind from one thread."""

    def execute(self, command: Command, at: datetime) -> Event | None: ...

    def account(self, attempts: int = 1) -> AccountState: ...

    def clock(self, attempts: int = 1) -> wire.BrokerClock: ...

    def corporate_actions(self, symbols: Iterable[str], start: date, end: date) -> list[wire.CorporateAction]: ...

    def assets(self, symbols: Iterable[str]) -> list[AssetState]: ...

    @property
    def left_alone(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a broker is waited for: seconds to connect and for an answer (``glance_timeout``: for the clock or the account, which the
    session waits for in its loop, and for the list of fills, which nothing waits for), attempts of a read, and the pause after the first of
    them (doubling). ``requests_per_minute``: our own limit, below the broker's (None: ``REQUESTS_PER_MINUTE``, in simulation none)."""

    connect_timeout: float = 3.0
    read_timeout: float = 10.0
    read_attempts: int = 4
    first_wait: float = 0.25
    glance_timeout: float = 3.0
    requests_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Where, with which keys and how patiently. ``adapter`` and ``sleep`` are the network, and the clock it waits by."""

    mode: str
    endpoints: Endpoints
    credentials: Credentials
    patience: Patience = Patience()
    adapter: AdapterFactory = TimeoutAdapter
    sleep: Callable[[float], None] = time.sleep


class AlpacaGateway:
    """Executes the core's commands at Alpaca or at a venue that speaks its protocol.

    Raises on construction: EndpointError when a URL is empty or foreign to the mode.
    """

    def __init__(self, config: GatewayConfig, fills_since: datetime | None = None, believed_live: Iterable[str] = ()) -> None:
        """``fills_since``: read orders and executions from then on (None: from the first read on); ``believed_live``: broker ids a replayed
        journal holds open."""
        check_endpoints(config.mode, config.endpoints)
        self._config = config
        self._fills_since = fills_since
        self._live_ids: set[str] = set(believed_live)
        limit = config.patience.requests_per_minute or (None if config.mode == "sim" else REQUESTS_PER_MINUTE)
        self._throttle = None if limit is None else Throttle(limit, sleep=config.sleep)
        patience = config.patience
        # a connection each for orders, reads, glances and listings: one that hangs holds up none of the others
        self._trading = self._trading_client(patience.read_timeout)
        self._reading = self._trading_client(patience.read_timeout)
        self._glancing = self._trading_client(patience.glance_timeout)
        self._listing = self._trading_client(patience.read_timeout)
        self._history = self._trading_client(patience.glance_timeout)  # fills are not waited for as long as orders and positions
        self._fills_came = True
        self._actions = self._actions_client()
        self._lane = self._throttled(self._trading, Lane.EXIT)
        self._throttled(self._reading, Lane.READ)
        self._throttled(self._glancing, Lane.GLANCE)
        self._throttled(self._listing, Lane.READ)
        self._throttled(self._history, Lane.READ)
        self._noting = threading.Lock()
        self._others = Bystanders()

    @property
    def left_alone(self) -> tuple[str, ...]:
        """What else the account was seen to hold or to have on order, which no read shows: ("BTCUSD (crypto)", …)."""
        return tuple(sorted(self._others.names))

    def _harden(self, client: Any, read_timeout: float) -> None:
        config = self._config
        harden(client, (config.patience.connect_timeout, read_timeout), config.mode != "sim", config.adapter)

    def _throttled(self, client: Any, lane: Lane) -> Valve | None:
        return None if self._throttle is None else Valve(client, self._throttle, lane)

    def _ask_as(self, lane: Lane) -> None:
        """The next request on the orders' connection spends from this lane."""
        if self._lane is not None:
            self._lane.lane = lane

    def _trading_client(self, read_timeout: float) -> Any:
        from alpaca.trading.client import TradingClient

        config = self._config
        client = TradingClient(
            config.credentials.key.get_secret_value(),
            config.credentials.secret.get_secret_value(),
            paper=config.mode != "live",
            raw_data=True,
            url_override=config.endpoints.trading,
        )
        self._harden(client, read_timeout)
        return client

    def _actions_client(self) -> Any:
        from alpaca.data.historical.corporate_actions import CorporateActionsClient

        config = self._config
        client = CorporateActionsClient(
            config.credentials.key.get_secret_value(),
            config.credentials.secret.get_secret_value(),
            raw_data=True,
            url_override=config.endpoints.data,
        )
        self._harden(client, config.patience.read_timeout)
        return client

    # ---- commands

    def execute(self, command: Command, at: datetime) -> Event | None:
        """Carry out one command and say how it ended; alerts are not the broker's business and give None.

        ``at`` stamps the answer. A ReadBroker that the broker does not answer gives None: no news is not "flat".
        """
        if isinstance(command, SubmitOrder):
            return self.submit(command.request, at)
        if isinstance(command, CancelOrder):
            return self.cancel(command.broker_id, at)
        if isinstance(command, ReplaceOrder):
            return self.replace(command, at)
        if isinstance(command, ClosePosition):
            return self.close_position(command.symbol, at)
        if isinstance(command, ProbeOrder):
            return self.probe(command.client_order_id, at)
        if isinstance(command, ReadBroker):
            return self._seen_or_none(at, command.reason)
        return None

    def submit(self, request: OrderRequest, at: datetime) -> SubmitEnded:
        """Send one order, once. A broker that already has its client order id is asked for that order, which is then adopted."""
        try:
            body = wire.sdk_request(request)
        except ValueError as error:
            return SubmitEnded(at, request.client_order_id, Outcome.DENIED, reason=f"not sent: {error}")
        self._ask_as(Lane.ENTRY if names_entry(request.client_order_id) else Lane.EXIT)
        try:
            order = wire.broker_order(self._trading.submit_order(body))
        except Exception as error:  # noqa: BLE001 - whatever happened, the outcome must be named; nothing is swallowed
            return self._submit_failed(request, failure_of(error), at)
        self._note(order)
        return SubmitEnded(at, request.client_order_id, Outcome.CONFIRMED, order)

    def _submit_failed(self, request: OrderRequest, failure: Failure, at: datetime) -> SubmitEnded:
        cid = request.client_order_id
        log.warning("submit failed", client_order_id=cid, reach=failure.reach, status=failure.status, code=failure.code)
        if failure.is_duplicate_id:
            return self._adopt(request, failure, at)
        outcome = OUTCOMES[failure.reach]
        return SubmitEnded(at, cid, outcome, None, failure.status, failure.code, failure.message, failure.retry_after_s)

    def _adopt(self, request: OrderRequest, failure: Failure, at: datetime) -> SubmitEnded:
        """The broker has our id: the order exists. Only an order that is what we asked for is adopted; else a person must look."""
        found = self.probe(request.client_order_id, at)
        if found.order is None:
            return SubmitEnded(
                at, request.client_order_id, Outcome.UNKNOWN, None, failure.status, failure.code, "duplicate id, order not readable"
            )
        same = (found.order.symbol, found.order.side, found.order.qty) == (request.symbol, request.side, request.qty)
        if not same:
            reason = f"client order id belongs to another order: {found.order.side} {found.order.qty} {found.order.symbol}"
            return SubmitEnded(at, request.client_order_id, Outcome.UNKNOWN, None, failure.status, failure.code, reason)
        return SubmitEnded(at, request.client_order_id, Outcome.CONFIRMED, found.order, reason="adopted: the broker already had it")

    def cancel(self, broker_id: str, at: datetime) -> CancelEnded:
        """Ask for a cancel. CONFIRMED means the request was taken; whether the order is cancelled, an update will say."""
        self._ask_as(Lane.EXIT)
        try:
            self._trading.cancel_order_by_id(UUID(broker_id))
        except Exception as error:  # noqa: BLE001 - see submit
            failure = failure_of(error)
            outcome = OUTCOMES[failure.reach]
            # a refusal is normal: the order ended by itself while we asked
            say = log.info if outcome is Outcome.REFUSED else log.warning
            say("cancel not taken", broker_id=broker_id, outcome=outcome, status=failure.status, code=failure.code, reason=failure.message)
            return CancelEnded(at, broker_id, outcome, failure.status, failure.code, failure.message)
        return CancelEnded(at, broker_id, Outcome.CONFIRMED)

    def replace(self, command: ReplaceOrder, at: datetime) -> ReplaceEnded:
        """Ask for a replacement. CONFIRMED gives the new order; the old one may still fill first, then the new one is rejected."""
        self._ask_as(Lane.EXIT)
        try:
            order = wire.broker_order(self._trading.replace_order_by_id(UUID(command.broker_id), wire.sdk_replacement(command)))
        except Exception as error:  # noqa: BLE001 - see submit
            failure = failure_of(error)
            log.warning("replace not taken", broker_id=command.broker_id, reach=failure.reach, status=failure.status, code=failure.code)
            return ReplaceEnded(
                at,
                command.client_order_id,
                command.broker_id,
                OUTCOMES[failure.reach],
                None,
                failure.status,
                failure.code,
                failure.message,
                failure.retry_after_s,
            )
        self._note(order)
        return ReplaceEnded(at, command.client_order_id, command.broker_id, Outcome.CONFIRMED, order)

    def close_position(self, symbol: str, at: datetime) -> CloseEnded:
        """Ask the broker to close a position at market. The order it makes has a name of its own."""
        self._ask_as(Lane.EXIT)
        try:
            order = wire.broker_order(self._trading.close_position(symbol))
        except Exception as error:  # noqa: BLE001 - see submit
            failure = failure_of(error)
            log.error("close not taken", symbol=symbol, reach=failure.reach, status=failure.status, reason=failure.message)
            outcome = OUTCOMES[failure.reach]
            return CloseEnded(at, symbol, outcome, None, failure.status, failure.code, failure.message, failure.retry_after_s)
        self._note(order)
        return CloseEnded(at, symbol, Outcome.CONFIRMED, order)

    def probe(self, client_order_id: str, at: datetime) -> OrderProbed:
        """Ask for one client order id, once (exits use the same connection). REFUSED: the broker answered that it has none. UNKNOWN: it did
        not answer."""
        self._ask_as(Lane.PROBE)
        try:
            order = wire.broker_order(read(lambda: self._trading.get_order_by_client_id(client_order_id), "order by client id", 1))
        except BrokerRefusedError as error:
            return OrderProbed(at, client_order_id, Outcome.REFUSED if error.failure.is_absent else Outcome.UNKNOWN)
        except (BrokerUnavailableError, wire.WireError) as error:
            log.warning("probe failed", client_order_id=client_order_id, error=str(error))
            return OrderProbed(at, client_order_id, Outcome.UNKNOWN)
        self._note(order)
        return OrderProbed(at, client_order_id, Outcome.CONFIRMED, order)

    # ---- reads

    def account(self, attempts: int = 1) -> AccountState:
        """A glance at the account. Raises: BrokerUnavailableError (BrokerRefusedError when the keys are wrong)."""
        return wire.account_state(
            read(self._glancing.get_account, "account", attempts, self._config.patience.first_wait, self._config.sleep)
        )

    def clock(self, attempts: int = 1) -> wire.BrokerClock:
        """A glance at the broker's clock. Raises: BrokerUnavailableError."""
        return wire.broker_clock(
            read(lambda: self._glancing.get("/clock"), "clock", attempts, self._config.patience.first_wait, self._config.sleep)
        )

    def corporate_actions(self, symbols: Iterable[str], start: date, end: date) -> list[wire.CorporateAction]:
        """Splits and cash dividends with an ex-date in [start, end]. Raises: BrokerUnavailableError."""
        from alpaca.data.requests import CorporateActionsRequest

        request = CorporateActionsRequest(symbols=sorted(symbols), start=start, end=end + PROCESSING_DELAY, limit=None)
        raw = self._read(lambda: self._actions.get_corporate_actions(request), "corporate actions")
        return [action for action in wire.corporate_actions(raw) if start <= action.ex_date <= end]

    def assets(self, symbols: Iterable[str]) -> list[AssetState]:
        """What may be done with each symbol; one the broker does not know may not be traded. Raises: BrokerUnavailableError."""
        found = []
        for symbol in sorted(symbols):
            try:
                raw = self._read(lambda symbol=symbol: self._listing.get(f"/assets/{symbol}"), f"asset {symbol}")
            except BrokerRefusedError as error:
                if not error.failure.is_absent:
                    raise
                found.append(AssetState(symbol, False, False, False, "the broker does not know the asset"))
            else:
                found.append(wire.asset_state(raw))
        return found

    def read_broker(self, at: datetime, began: datetime) -> BrokerSeen:
        """Orders, executions, positions and account in one reconciliation read.

        Orders: all open ones with legs, all submitted since the last read, and, one by one, every order this gateway last saw
        alive that neither list shows any more, with whatever replaced it: "not in the open list" is not "gone". Executions that the
        broker does not give are said to be unknown, and asked for again; nobody's protection waits for them. Raises:
        BrokerUnavailableError.
        """
        since = self._fills_since or began
        with self._noting:
            watched = set(self._live_ids)
        orders, absent = self._orders(since, watched)
        fills, complete = self._fills(since)
        positions = [wire.broker_position(raw) for raw in self._others.leave_out(self._read(self._reading.get_all_positions, "positions"))]
        executions = _readable(self._others.leave_out_fills(fills))
        account = wire.account_state(self._read(self._reading.get_account, "account"))
        known = complete and None not in executions
        if known:
            self._fills_since = max(since, began - OVERLAP)
        alive = {order.broker_id for order in wire.flatten(orders) if order.is_live}
        with self._noting:  # what was sent while this read was under way stays watched
            self._live_ids = (self._live_ids - watched) | alive
        executed = tuple(execution for execution in executions if execution is not None)
        return BrokerSeen(at, began, tuple(positions), tuple(orders), executed, since, account, known, tuple(absent))

    def _seen_or_none(self, at: datetime, reason: str) -> BrokerSeen | None:
        try:
            return self.read_broker(at, began=at)
        except (BrokerUnavailableError, wire.WireError) as error:
            log.error("reconciliation read failed", reason=reason, error=str(error))
            return None

    def _orders(self, since: datetime, watched: set[str]) -> tuple[list[BrokerOrder], list[str]]:
        """Orders, and those ids of ``watched`` that no list shows and the broker does not know."""
        found: dict[str, BrokerOrder] = {}
        for order in [*self._list_orders("open", None), *self._list_orders("all", since)]:
            found[order.broker_id] = order
        shown = {order.broker_id for order in wire.flatten(found.values())}
        asked, absent = deque(sorted(watched - shown)), list[str]()
        while asked:
            broker_id = asked.popleft()
            gone = self._order_by_id(broker_id)
            if gone is None:
                absent.append(broker_id)
                continue
            for order in wire.flatten([gone]):
                shown.add(order.broker_id)
                if order.replaced_by and order.replaced_by not in shown:
                    asked.append(order.replaced_by)
            found.setdefault(gone.broker_id, gone)
        return [found[key] for key in sorted(found)], absent

    def _list_orders(self, status: str, after: datetime | None) -> list[BrokerOrder]:
        """All pages of one listing. The SDK has no page token: the next page starts after the last submission time seen."""
        from alpaca.common.enums import Sort
        from alpaca.trading.enums import QueryOrderStatus
        from alpaca.trading.requests import GetOrdersRequest

        found: dict[str, BrokerOrder] = {}
        listed: set[object] = set()
        while True:
            query = GetOrdersRequest(status=QueryOrderStatus(status), limit=ORDERS_PAGE, after=after, direction=Sort.ASC, nested=True)
            page = self._read(lambda query=query: self._reading.get_orders(query), f"{status} orders")
            fresh = {raw.get("id") for raw in page} - listed
            listed |= fresh
            found.update({order.broker_id: order for order in map(wire.broker_order, self._others.leave_out(page))})
            last = max((wire.instant(raw["submitted_at"]) for raw in page if raw.get("submitted_at")), default=None)
            if len(page) < ORDERS_PAGE or not fresh or last is None:
                return list(found.values())
            # ``after`` is exclusive: step back a little so that orders of the same instant are not skipped
            after = last - timedelta(microseconds=1)

    def _order_by_id(self, broker_id: str) -> BrokerOrder | None:
        from alpaca.trading.requests import GetOrderByIdRequest

        try:
            raw = self._read(lambda: self._reading.get_order_by_id(broker_id, GetOrderByIdRequest(nested=True)), f"order {broker_id}")
        except BrokerRefusedError as error:
            if error.failure.is_absent:
                return None
            raise
        return next(map(wire.broker_order, self._others.leave_out([raw])), None)

    def _fills(self, since: datetime) -> tuple[list[wire.Raw], bool]:
        """FILL activities since then, and whether these are all. Asked once more at most, and once only where that failed the last time."""
        patience, found = self._config.patience, list[wire.Raw]()
        query: dict[str, Any] = {
            "activity_types": "FILL",
            "page_size": FILLS_PAGE,
            "direction": "asc",
            "after": since.isoformat().replace("+00:00", "Z"),
        }
        attempts = min(2, patience.read_attempts) if self._fills_came else 1
        self._fills_came = False
        while True:
            ask = partial(self._history.get, "/account/activities", dict(query))
            try:
                page = read(ask, "fill activities", attempts, patience.first_wait, self._config.sleep)
            except BrokerUnavailableError as error:
                log.error("fill activities not read, going on without", since=since.isoformat(), error=str(error))
                return found, False
            found.extend(page)
            if len(page) < FILLS_PAGE:
                self._fills_came = True
                return found, True
            query["page_token"] = page[-1]["id"]

    def _note(self, order: BrokerOrder) -> None:
        with self._noting:
            self._live_ids.update(each.broker_id for each in wire.flatten([order]) if each.is_live)

    def _read(self, call: Any, what: str) -> Any:
        patience = self._config.patience
        return read(call, what, patience.read_attempts, patience.first_wait, self._config.sleep)

    def close(self) -> None:
        """Give the sockets back."""
        for client in (self._trading, self._reading, self._glancing, self._listing, self._history, self._actions):
            session: requests.Session = client._session
            session.close()


def _readable(fills: Iterable[wire.Raw]) -> list[Execution | None]:
    """Each as an execution, None for one that cannot be read: it must not take the others with it."""
    found: list[Execution | None] = []
    for raw in fills:
        try:
            found.append(wire.execution_of_activity(raw))
        except wire.WireError as error:
            log.error("unreadable fill activity", error=str(error), raw=repr(raw)[:500])
            found.append(None)
    return found
