"""Everything the core remembers. Only ``applying.apply`` changes it, so replaying the journal rebuilds it byte for byte."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from alphatrade_pipelines.risk import LimitState, WinRecord
from alphatrade_pipelines.trading.codec import to_plain
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.domain import (
    AccountState,
    AssetState,
    BrokerOrder,
    Execution,
    ModelRef,
    ParentOrder,
    Side,
    Signal,
    StopPolicy,
)
from alphatrade_pipelines.trading.orders import LocalOrder

FILLS_OVERLAP = timedelta(hours=1)


class TradingState(StrEnum):
    """ACTIVE trades; REDUCING only reduces; HALTED sends no entry either, and stays so until a person resumes."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


@dataclass(slots=True)
class Plan:
    """What an entry intends for its symbol: where to stop, where to take profit, until when to hold (prices as they trade now)."""

    decision_id: str
    side: Side
    stop: Decimal
    target: Decimal
    hold_until: datetime
    probability: float


@dataclass(slots=True)
class Position:
    """Sum of executions in one symbol. ``qty`` is negative for a short; ``realized`` is the P&L of the open trade so far."""

    symbol: str
    qty: Decimal
    avg_price: Decimal
    realized: Decimal
    opened_at: datetime
    concurrent: int  # most positions open at the same time during its life, itself included
    flipped: bool = False  # opened by an order that was to close: what was held had been closed already, or was less


@dataclass(slots=True)
class ExitSaga:
    """A position on its way out: cancel what rests at the broker, wait for the word, close; retried until flat.

    ``attempts``: orders and requests so far; ``refusals``: those that failed for a reason that will not pass by itself, which make the
    rung of the ladder (exits.py). ``closing``: since when a request to the broker to close the position itself has been without an answer.
    """

    reason: str
    since: datetime
    attempts: int = 0
    refusals: int = 0
    next_try: datetime | None = None
    closing: datetime | None = None


@dataclass(slots=True)
class Repair:
    """Refused attempts to protect a symbol. ``beyond``: the broker says the market is past the stop or the target."""

    attempts: int
    next_try: datetime
    beyond: bool = False


@dataclass(slots=True)
class Exposed:
    """Shares without a stop since ``since``: ``seconds`` of open market with a broker that answered, as of the last tick."""

    since: datetime
    seconds: float = 0.0
    reported: bool = False


@dataclass(frozen=True, slots=True)
class Counted:
    """An execution that was counted just now, and what the position was worth a share before it (None: there was none)."""

    execution: Execution
    avg_price: Decimal | None


@dataclass(frozen=True, slots=True)
class Drift:
    """Something a read told that we should have known: a kind of ``findings.KINDS``, and what ``apply`` made of it."""

    kind: str
    symbol: str
    detail: str
    action: str


@dataclass(slots=True)
class EntryRetry:
    """An entry the broker refused for a reason that may pass: try ``qty`` with these legs again from ``not_before`` on."""

    qty: Decimal
    attempt: int
    not_before: datetime
    stop: Decimal | None = None
    target: Decimal | None = None


@dataclass(slots=True)
class Parent:
    """A parent order at work. ``slices``: client order ids, oldest first; ``begun``: the step of the plan the last one was sent for.

    ``elapsed_s`` counts open market only, up to ``counted_at`` (None while closed); ``volume`` is what traded since it opened, of which
    ``followed`` before the last slice. ``spoiled``: why its plan no longer holds.
    """

    order: ParentOrder
    slices: list[str] = field(default_factory=list)
    begun: int = 0
    elapsed_s: float = 0.0
    counted_at: datetime | None = None
    was_open: bool = False
    volume: Decimal = Decimal(0)
    followed: Decimal = Decimal(0)
    spoiled: str = ""


@dataclass(slots=True)
class Stranger:
    """An order in this account that we did not send (or whose parent has not been reported yet). ``absent_at``: when the broker was last
    heard not to know it."""

    order: BrokerOrder
    reported: bool = False
    cancel_asked_at: datetime | None = None
    absent_at: datetime | None = None

    @property
    def live_ids(self) -> set[str]:
        """Broker ids of what of it was last seen alive."""
        return {each.broker_id for each in (self.order, *self.order.legs) if each.is_live}

    @property
    def cancel_target(self) -> str:
        """The broker id whose cancellation ends it: its own, or a live leg's once the parent has filled."""
        live = [leg.broker_id for leg in self.order.legs if leg.is_live]
        return self.order.broker_id if self.order.is_live or not live else live[0]


@dataclass(slots=True)
class Session:
    """The running session."""

    run_id: str
    mode: str
    model: ModelRef
    started_at: datetime


@dataclass(slots=True)
class CoreState:
    """The core's memory. ``orders`` is keyed by client order id; ``live`` lists, per symbol, those that may still act at the broker."""

    config: CoreConfig
    now: datetime | None = None
    session: Session | None = None
    account: AccountState | None = None
    account_at: datetime | None = None
    blocked_at: datetime | None = None  # when the broker was last seen to begin blocking the account
    ready: bool = False
    stream_lost: bool = False
    market_open: bool = False
    next_open: datetime | None = None
    next_close: datetime | None = None
    ticked_before: datetime | None = None
    ticked_at: datetime | None = None
    halted: str = ""
    reducing: str = ""
    leaving: str = ""  # everything is to be closed, also what is found later, until a person resumes
    stopping: StopPolicy | None = None
    broker_seen_at: datetime | None = None
    look_again_at: datetime | None = None  # the last read differed from us in a symbol that was moving: from then on it says something
    fills_from: datetime | None = None
    marks: dict[str, Decimal] = field(default_factory=dict)
    marked_at: dict[str, datetime] = field(default_factory=dict)
    assets: dict[str, AssetState] = field(default_factory=dict)  # those that may not be traded freely
    excluded: dict[str, str] = field(default_factory=dict)  # symbols the broker does not let us enter this session, and its words
    signals: dict[str, Signal] = field(default_factory=dict)
    decided: dict[str, datetime] = field(default_factory=dict)
    orders: dict[str, LocalOrder] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)  # client order id of a replacement -> that of the order it belongs to
    by_broker: dict[str, str] = field(default_factory=dict)
    live: dict[str, dict[str, None]] = field(default_factory=dict)
    entering: dict[str, None] = field(default_factory=dict)  # symbols in which an order of ours may still open or grow a position
    strangers: dict[str, Stranger] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    exits: dict[str, ExitSaga] = field(default_factory=dict)
    repairs: dict[str, Repair] = field(default_factory=dict)
    exposed: dict[str, Exposed] = field(default_factory=dict)
    silent_since: datetime | None = None  # the broker leaves requests or reads without an answer
    ticks_unread: int = 0
    counted: list[Counted] = field(default_factory=list)
    dust: dict[str, Repair] = field(default_factory=dict)  # fractions of a share the broker did not take
    entry_retries: dict[str, EntryRetry] = field(default_factory=dict)
    parents: dict[str, Parent] = field(default_factory=dict)
    executions: dict[str, None] = field(default_factory=dict)
    executed: dict[str, Decimal] = field(default_factory=dict)  # shares counted per broker order id
    adopted: dict[str, datetime] = field(default_factory=dict)  # when a position was last taken over from the broker
    unread: dict[str, Execution] = field(default_factory=dict)  # counted from the stream, not seen in a read yet
    drift: list[Drift] = field(default_factory=list)
    contradicted: dict[str, None] = field(default_factory=dict)  # ended for us, alive in the last read
    disputes: dict[str, None] = field(default_factory=dict)
    actions: dict[str, None] = field(default_factory=dict)
    renames: dict[str, str] = field(default_factory=dict)  # announced names, until the broker shows the position under them
    activity: dict[str, datetime] = field(default_factory=dict)  # when the last update of a symbol came in
    touched: dict[str, datetime] = field(default_factory=dict)  # when something of it was last asked for, or answered
    intents: dict[str, int] = field(default_factory=dict)
    record: WinRecord = field(default_factory=WinRecord)
    limits: LimitState = field(default_factory=LimitState)
    closed_trades: int = 0
    realized: Decimal = Decimal(0)

    @classmethod
    def initial(cls, config: CoreConfig) -> CoreState:
        """An account nobody has traded yet."""
        return cls(config=config)

    @property
    def trading(self) -> TradingState:
        """The most restrictive of: a halt, a blocked account, a requested stop, a person's word, a tripped breaker."""
        if self.halted or (self.account is not None and self.account.trading_blocked):
            return TradingState.HALTED
        return TradingState.REDUCING if self.stopping or self.reducing or self.limits.tripped else TradingState.ACTIVE

    @property
    def clock(self) -> datetime:
        """Latest time any event carried. Raises RuntimeError before the first event."""
        if self.now is None:
            raise RuntimeError("Expected an event before anybody asks for the time")
        return self.now

    def live_orders(self, symbol: str) -> list[LocalOrder]:
        """Our orders in ``symbol`` that may still act, oldest first."""
        return [self.orders[cid] for cid in self.live.get(symbol, ())]

    def has_uncounted_fills(self, symbol: str) -> bool:
        """The broker reported an order of ours as filled beyond the executions we have: the position is about to change."""
        return any(self.owes_executions(order) for order in self.live_orders(symbol))

    def is_quiet(self, symbol: str, began: datetime) -> bool:
        """Nothing of the symbol was asked, answered or told since shortly before ``began``, when a read of the broker began: so its parts
        describe one moment, and nothing we know is newer. Reads run beside orders and may come in long after them."""
        settled = began - timedelta(seconds=self.config.activity_guard_s)
        latest = max(self.activity.get(symbol, settled), self.touched.get(symbol, settled))
        return latest <= settled and not any(order.is_unsettled for order in self.live_orders(symbol))

    def owes_executions(self, order: LocalOrder) -> bool:
        """More of it is reported as filled than its counted executions come to."""
        return any(filled > self.executed.get(broker_id, 0) for broker_id, filled in order.fills())

    def active_symbols(self) -> list[str]:
        """Symbols with a position, something live, an exit, a retry or a parent; sorted, so decisions have one order."""
        return sorted({*self.positions, *self.live, *self.exits, *self.entry_retries, *self.parents})

    def fingerprint(self) -> str:
        """SHA-256 of the whole state: equal fingerprints mean equal states."""
        text = json.dumps(to_plain(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
