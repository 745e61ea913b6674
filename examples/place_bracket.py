"""Buy with a target and a stop.  python examples/place_bracket.py [SYMBOL] [SHARES]"""

from __future__ import annotations

import sys
import time

import connect
from alpaca.data.requests import StockLatestQuoteRequest
from alpaca.trading.enums import OrderClass, OrderSide, OrderStatus, TimeInForce
from alpaca.trading.requests import GetOrderByIdRequest, MarketOrderRequest, StopLossRequest, TakeProfitRequest

symbol = sys.argv[1] if len(sys.argv) > 1 else "AAPL"
shares = int(sys.argv[2]) if len(sys.argv) > 2 else 10
trading = connect.trading()

quote = connect.data().get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=symbol))[symbol]
price = quote.ask_price or quote.bid_price
order = trading.submit_order(
    MarketOrderRequest(
        symbol=symbol,
        qty=shares,
        side=OrderSide.BUY,
        time_in_force=TimeInForce.GTC,
        order_class=OrderClass.BRACKET,
        take_profit=TakeProfitRequest(limit_price=round(price * 1.10, 2)),
        stop_loss=StopLossRequest(stop_price=round(price * 0.90, 2)),
    )
)
print(f"sent {order.id}: {order.status.value}")

for _ in range(120):
    order = trading.get_order_by_id(order.id, GetOrderByIdRequest(nested=True))
    if order.status in (OrderStatus.FILLED, OrderStatus.REJECTED, OrderStatus.CANCELED, OrderStatus.EXPIRED):
        break
    time.sleep(0.5)
print(f"{order.status.value}: {order.filled_qty} of {order.qty} {symbol} at {order.filled_avg_price}")
for leg in order.legs:
    print(f"  {leg.side.value} {leg.qty} {leg.type.value} {leg.limit_price or leg.stop_price}: {leg.status.value}  {leg.id}")
if order.status is not OrderStatus.FILLED:
    sys.exit("not filled (is the market open?)")
