"""Tighten the stop of an open bracket.  python examples/replace_leg.py [SYMBOL]"""

from __future__ import annotations

import sys

import connect
from alpaca.trading.enums import OrderType, QueryOrderStatus
from alpaca.trading.requests import GetOrdersRequest, ReplaceOrderRequest

symbol = sys.argv[1] if len(sys.argv) > 1 else "AAPL"
trading = connect.trading()

brackets = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, nested=True, symbols=[symbol]))
stops = [leg for order in brackets for leg in order.legs or [] if leg.type is OrderType.STOP and leg.status.value in ("held", "new")]
if not stops:
    sys.exit(f"no open stop in {symbol}: place a bracket first (place_bracket.py)")

old = stops[0]
tighter = round(float(old.stop_price) * 1.02, 2)
new = trading.replace_order_by_id(old.id, ReplaceOrderRequest(stop_price=tighter))
print(f"{old.id}: stop {old.stop_price}, now {trading.get_order_by_id(old.id).status.value}")
print(f"{new.id}: stop {new.stop_price}, {new.status.value}, replaces {new.replaces}")
