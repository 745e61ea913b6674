"""Get out: cancel what rests in a symbol, wait until it is gone, close the position.  python examples/close_position.py [SYMBOL]"""

from __future__ import annotations

import sys
import time

import connect
from alpaca.common.exceptions import APIError
from alpaca.trading.enums import OrderStatus, QueryOrderStatus
from alpaca.trading.requests import GetOrdersRequest

symbol = sys.argv[1] if len(sys.argv) > 1 else "AAPL"
trading = connect.trading()
resting = GetOrdersRequest(status=QueryOrderStatus.OPEN, symbols=[symbol])

for order in trading.get_orders(resting):
    try:
        trading.cancel_order_by_id(order.id)
    except APIError as error:  # its sibling's cancel took it along, or it filled meanwhile
        print(f"{order.id}: {error.message}")

# shares stay held until every cancel is confirmed
for _ in range(60):
    if not trading.get_orders(resting):
        break
    time.sleep(0.5)

order = trading.close_position(symbol)
print(f"sent {order.id}: {order.side.value} {order.qty} {symbol}")
for _ in range(120):
    order = trading.get_order_by_id(order.id)
    if order.status is OrderStatus.FILLED:
        break
    time.sleep(0.5)
print(f"{order.status.value} at {order.filled_avg_price}")
try:
    print(f"still open: {trading.get_open_position(symbol).qty}")
    sys.exit(1)
except APIError as error:
    print(f"{symbol}: {error.message}")
