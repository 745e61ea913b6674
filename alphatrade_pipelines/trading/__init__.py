"""The trading core: pure, sans-I/O. Events in, commands out; state changes only by applying events."""

from __future__ import annotations

from alphatrade_pipelines.trading.codec import CodecError, decode_event, encode_event
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.engine import Engine, EngineError, EventLog, LogWriteError, MemoryLog
from alphatrade_pipelines.trading.state import CoreState, TradingState

__all__ = [
    "CodecError",
    "CoreConfig",
    "CoreState",
    "Engine",
    "EngineError",
    "EventLog",
    "LogWriteError",
    "MemoryLog",
    "TradingState",
    "decode_event",
    "encode_event",
]
