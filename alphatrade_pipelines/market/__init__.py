"""Market data: bars, sessions, adjustment, sources, the bar store and the live quality gate.

A bar frame has the index (symbol, timestamp), sorted, with ``timestamp`` the START of the bar in UTC; see ``bars.py``.
"""

from __future__ import annotations

from alphatrade_pipelines.market.adjustment import ForwardAdjuster, adjust, adjust_forward, forward_factors
from alphatrade_pipelines.market.bars import check_bars, empty_bars, require_history, to_bars
from alphatrade_pipelines.market.errors import BarDataError, MarketDataUnavailableError
from alphatrade_pipelines.market.gate import BarGate, Fault, GateConfig, LiveBar, Verdict
from alphatrade_pipelines.market.quality import quality_report
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.sources.alpaca import AlpacaConfig, AlpacaSource
from alphatrade_pipelines.market.sources.base import BarSource, ingest
from alphatrade_pipelines.market.sources.files import FilesConfig, FilesSource
from alphatrade_pipelines.market.sources.sample import SampleSource
from alphatrade_pipelines.market.sources.synthetic import SyntheticConfig, SyntheticSource
from alphatrade_pipelines.market.store import BarStore, WriteResult
from alphatrade_pipelines.market.timeframe import Timeframe

__all__ = [
    "AlpacaConfig",
    "AlpacaSource",
    "BarDataError",
    "BarGate",
    "BarSource",
    "BarStore",
    "Fault",
    "FilesConfig",
    "FilesSource",
    "ForwardAdjuster",
    "GateConfig",
    "LiveBar",
    "MarketDataUnavailableError",
    "SampleSource",
    "SessionCalendar",
    "SyntheticConfig",
    "SyntheticSource",
    "Timeframe",
    "Verdict",
    "WriteResult",
    "adjust",
    "adjust_forward",
    "check_bars",
    "empty_bars",
    "forward_factors",
    "ingest",
    "quality_report",
    "require_history",
    "to_bars",
]
