"""Listen to bars and to my own orders while one of them fills.  python examples/stream_bars_and_updates.py [SYMBOL] [BARS]"""

from __future__ import annotations

import sys
import threading
import time

import connect
from alpaca.data.models import Bar
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.models import TradeUpdate
from alpaca.trading.requests import MarketOrderRequest

symbol = sys.argv[1] if len(sys.argv) > 1 else "AAPL"
wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 3
done, heard = threading.Event(), threading.Event()
bars: list[Bar] = []
outcome: list[str] = []


async def on_bar(bar: Bar) -> None:
    print(f"bar {bar.timestamp} {bar.symbol} close {bar.close} volume {bar.volume}", flush=True)
    bars.append(bar)
    if len(bars) >= wanted:
        heard.set()


async def on_update(update: TradeUpdate) -> None:
    order = update.order
    print(f"order {order.status.value}: {order.filled_qty} of {order.qty} {order.symbol}", flush=True)
    if update.event in ("fill", "rejected", "canceled", "expired"):
        outcome.append(str(order.status.value))
        done.set()


updates, market = connect.trading_stream(), connect.data_stream()
updates.subscribe_trade_updates(on_update)
market.subscribe_bars(on_bar, symbol)
for stream in (updates, market):
    threading.Thread(target=stream.run, daemon=True).start()

# the first bar shows that the market is open and that this program listens
while not bars:
    time.sleep(0.2)
order = connect.trading().submit_order(MarketOrderRequest(symbol=symbol, qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY))
print(f"sent {order.id}", flush=True)
ended = done.wait(120) and heard.wait(120)
updates.stop()
market.stop()
if not ended:
    sys.exit("nothing came for two minutes")
if outcome != ["filled"]:
    sys.exit(f"the order was {outcome[0]}")
