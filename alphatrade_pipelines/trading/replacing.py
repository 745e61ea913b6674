"""When an order may be replaced rather than cancelled and sent anew, and the intent that does it.

A replacement keeps the group protected at every step, and its answer is only a promise: the old order may fill first, then the new one is
rejected; both ids are followed. What Alpaca does with the quantity of a partly filled order is disputed (its documentation: the number of
shares to trade; reports: the whole quantity is asked for again), so an order with fills is never replaced.
"""

from __future__ import annotations

from decimal import Decimal

from alphatrade_pipelines.trading.events import ReplaceIntended
from alphatrade_pipelines.trading.ids import client_order_id
from alphatrade_pipelines.trading.orders import REPLACEABLE, Link, LocalOrder
from alphatrade_pipelines.trading.state import CoreState


def replace_order(
    state: CoreState,
    order: LocalOrder,
    link: Link,
    reason: str,
    *,
    qty: Decimal | None = None,
    limit_price: Decimal | None = None,
    stop_price: Decimal | None = None,
) -> ReplaceIntended | None:
    """The intent to replace ``link`` (the order itself or one leg of it); None while that is not possible, or not wise.

    Not possible: a replacement or a cancellation of it is on its way, the broker replaces only working orders (Alpaca: not ``accepted``,
    ``pending_new``, ``pending_cancel``, ``pending_replace``). Not wise: shares of it have filled; the last refusal was a moment ago.
    """
    busy = order.amendment is not None or order.cancel_asked_at is not None or order.is_unsettled
    resting = order.amend_after is not None and order.amend_refusals > 0 and state.clock < order.amend_after
    if busy or resting or link.filled_qty or link.status not in REPLACEABLE:
        return None
    symbol, attempt = order.request.symbol, state.intents.get(order.request.symbol, 0)
    name = client_order_id(order.decision_id, symbol, state.clock, "replace", attempt)
    return ReplaceIntended(state.clock, name, order.request.client_order_id, link.broker_id, symbol, reason, qty, limit_price, stop_price)
