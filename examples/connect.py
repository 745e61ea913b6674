"""Where the examples connect to, and with which keys. Nothing else in this folder knows whether it talks to the venue or to Alpaca paper.

ALPACA_URL              the venue's address, http://127.0.0.1:8900; not set: Alpaca paper
APCA_API_KEY_ID         sim at the venue
APCA_API_SECRET_KEY     sim at the venue
"""

from __future__ import annotations

import os

from alpaca.data.enums import DataFeed
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.live import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.stream import TradingStream

KEY, SECRET = os.environ["APCA_API_KEY_ID"], os.environ["APCA_API_SECRET_KEY"]
URL = os.environ.get("ALPACA_URL")  # alpaca-py itself reads no environment variable
STREAMS = URL.replace("http", "ws", 1) if URL else None


def trading() -> TradingClient:
    return TradingClient(KEY, SECRET, paper=True, url_override=URL)


def data() -> StockHistoricalDataClient:
    return StockHistoricalDataClient(KEY, SECRET, url_override=URL)


def trading_stream() -> TradingStream:
    return TradingStream(KEY, SECRET, paper=True, url_override=STREAMS and f"{STREAMS}/stream")


def data_stream() -> StockDataStream:
    return StockDataStream(KEY, SECRET, feed=DataFeed.IEX, url_override=STREAMS and f"{STREAMS}/v2/iex")
