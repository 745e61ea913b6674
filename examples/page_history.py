"""Everything that was, page by page: bars, orders, executions.  python examples/page_history.py [SYMBOL ...]"""

from __future__ import annotations

import sys
from datetime import timedelta

import connect
from alpaca.data.requests import StockBarsRequest
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.enums import QueryOrderStatus
from alpaca.trading.requests import GetOrdersRequest

symbols = sys.argv[1:] or ["AAPL"]
trading = connect.trading()
now = trading.get_clock().timestamp  # never the wall clock: the venue lives in another time

# alpaca-py follows next_page_token by itself (10,000 bars a page)
bars = connect.data().get_stock_bars(
    StockBarsRequest(symbol_or_symbols=symbols, timeframe=TimeFrame.Minute, start=now - timedelta(days=60))
)
for symbol in symbols:
    found = bars.data.get(symbol, [])
    print(f"{symbol}: {len(found)} minute bars" + (f" from {found[0].timestamp} to {found[-1].timestamp}" if found else ""))

# orders: `after` is exclusive and several may share an instant, so each page begins a moment before the last one seen; ids tell them apart
seen: dict[str, str] = {}
after = None
while True:
    page = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, limit=50, direction="asc", after=after))
    new = [order for order in page if str(order.id) not in seen]
    seen.update({str(order.id): order.status.value for order in new})
    if not new:
        break
    after = new[-1].submitted_at - timedelta(microseconds=1)
print(f"{len(seen)} orders: {', '.join(sorted(set(seen.values())))}")

# executions: alpaca-py has no method for them, but its client can ask
executions: list[dict[str, str]] = []
query = {"activity_types": "FILL", "page_size": 100, "direction": "asc"}
while page := trading.get("/account/activities", query):
    executions += page
    query["page_token"] = page[-1]["id"]
for fill in executions:
    print(f"{fill['transaction_time']} {fill['side']} {fill['qty']} {fill['symbol']} at {fill['price']}")
