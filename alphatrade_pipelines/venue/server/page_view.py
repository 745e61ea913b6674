"""What the page at ``/`` shows, read from the exchange as it stands: plain values, in the order they appear."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from alphatrade_pipelines.venue.exchange.ledger import Receipt, protected_quantity
from alphatrade_pipelines.venue.exchange.orders import BookOrder, Fill
from alphatrade_pipelines.venue.exchange.views import VenueAccount, VenuePosition

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.exchange.exchange import Exchange

EXECUTIONS = 15  # newest executions shown
REQUESTS = 8  # newest order requests shown
GROUPS = 60  # newest working groups shown
MARKET = 12  # symbols shown in the market table


@dataclass(frozen=True, slots=True)
class PositionRow:
    """A position and what protects it: ``stops`` would close ``covered`` shares; ``gap`` are naked, ``excess`` would flip it."""

    position: VenuePosition
    value: Decimal
    profit: Decimal
    profit_rate: Decimal
    covered: Decimal
    gap: Decimal
    excess: Decimal
    stops: tuple[BookOrder, ...]
    targets: tuple[BookOrder, ...]

    @property
    def part(self) -> int:
        """Whole per cent of the position that is covered, never rounded up to all of it."""
        return int(min(Decimal(100), 100 * self.covered / abs(self.position.qty)))


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One order of a group, ``depth`` 1 for a leg."""

    order: BookOrder
    depth: int


@dataclass(frozen=True, slots=True)
class MarketRow:
    """Last price of a symbol with the profile's quote around it; ``change`` against the last close."""

    symbol: str
    price: Decimal
    bid: Decimal
    ask: Decimal
    change: Decimal | None
    halted: bool


@dataclass(frozen=True, slots=True)
class Session:
    """Where the tape stands: the day shown and how many sessions of the tape have closed."""

    day: str
    number: int
    of: int


@dataclass(frozen=True, slots=True)
class ExchangeView:
    """Everything of the exchange that the page shows."""

    now: datetime
    is_open: bool
    next_at: datetime | None
    next_open: datetime
    next_close: datetime
    session: Session
    account: VenueAccount
    today: Decimal
    total: Decimal
    equity: tuple[Decimal, ...]
    positions: tuple[PositionRow, ...]
    groups: tuple[tuple[OrderRow, ...], ...]
    more_groups: int
    executions: tuple[Fill, ...]
    more_executions: int
    requests: tuple[Receipt, ...]
    refused: int
    accepted: int
    unprotected_seconds: float
    overprotected_seconds: float
    duplicate_intents: int
    flips: int
    market: tuple[MarketRow, ...] = field(default=())

    @property
    def naked(self) -> int:
        """Positions with a gap in their protection."""
        return sum(row.gap > 0 for row in self.positions)


def view(exchange: Exchange) -> ExchangeView:
    """The exchange at this moment."""
    account, ledger, live = exchange.account(), exchange.ledger, exchange.book.live()
    groups = group_orders(live)
    fills = exchange.book.fills
    refused = ledger.refusals.total()
    return ExchangeView(
        now=exchange.now,
        is_open=exchange.market_open,
        next_at=exchange.next_step_at,
        next_open=exchange.next_open,
        next_close=exchange.next_close,
        session=_session(exchange),
        account=account,
        today=account.equity - account.last_equity,
        total=account.equity - exchange.cash_account.initial_cash,
        equity=(exchange.cash_account.initial_cash, *(equity for _, _, equity in exchange.equity_history), account.equity),
        positions=tuple(position_row(position, live) for position in exchange.positions()),
        groups=tuple(groups[:GROUPS]),
        more_groups=max(0, len(groups) - GROUPS),
        executions=tuple(reversed(fills[-EXECUTIONS:])),
        more_executions=max(0, len(fills) - EXECUTIONS),
        requests=tuple(reversed(ledger.receipts[-REQUESTS:])),
        refused=refused,
        accepted=len(ledger.receipts) - refused,
        unprotected_seconds=sum(ledger.unprotected_seconds.values()),
        overprotected_seconds=sum(ledger.overprotected_seconds.values()),
        duplicate_intents=len(ledger.duplicate_intents),
        flips=len(ledger.flips),
        market=_market(exchange),
    )


def position_row(position: VenuePosition, live: list[BookOrder]) -> PositionRow:
    """A position with the live orders that would close it at a loss (``stops``) and at a profit (``targets``)."""
    closing = [order for order in live if order.symbol == position.symbol and order.sign * position.qty < 0 and order.active]
    stops = tuple(order for order in closing if protected_quantity(position.qty, [order]) > 0)
    covered, size = protected_quantity(position.qty, stops), abs(position.qty)
    value = position.qty * position.price
    profit = value - position.cost_basis
    return PositionRow(
        position=position,
        value=value,
        profit=profit,
        profit_rate=profit / abs(position.cost_basis) if position.cost_basis else Decimal(0),
        covered=covered,
        gap=max(size - covered, Decimal(0)),
        excess=max(covered - size, Decimal(0)),
        stops=stops,
        targets=tuple(order for order in closing if order not in stops and order.limit_price is not None),
    )


def group_orders(live: list[BookOrder]) -> list[tuple[OrderRow, ...]]:
    """Live orders with their whole group (a filled entry stays above its live legs), the newest group first."""
    roots: dict[str, BookOrder] = {}
    for order in live:
        roots.setdefault(order.root.id, order.root)
    newest = sorted(roots.values(), key=lambda order: order.sequence, reverse=True)
    return [(OrderRow(root, 0), *(OrderRow(leg, 1) for leg in root.legs)) for root in newest]


def _session(exchange: Exchange) -> Session:
    sessions = exchange.tape.sessions
    at = min(exchange.tape.session_at(exchange.now), len(sessions) - 1)
    return Session(sessions[at].day.isoformat(), at + 1, len(sessions))


def _market(exchange: Exchange) -> tuple[MarketRow, ...]:
    held = exchange.cash_account.holdings
    prices = exchange.prices()
    shown = sorted(prices, key=lambda symbol: (symbol not in held, symbol))[:MARKET]
    rows = []
    for symbol in sorted(shown):
        price, half = prices[symbol], exchange.half_spread(prices[symbol])
        quote = exchange.market.quotes[symbol]
        before = quote.previous_close
        change = price / Decimal(str(before)) - 1 if before == before and before > 0 else None
        rows.append(MarketRow(symbol, price, price - half, price + half, change, quote.halted))
    return tuple(rows)
