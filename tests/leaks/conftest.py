"""Arenas of real bars: the embedded sample, and where present the test data of the house."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from alphatrade_pipelines.leaks.arena import build_arena, recent
from alphatrade_pipelines.leaks.planted import Arena
from alphatrade_pipelines.market import FilesConfig, FilesSource, SampleSource, Timeframe

NEW_YORK = "America/New_York"


@pytest.fixture(scope="session")
def sample_bars() -> pd.DataFrame:
    return recent(SampleSource().fetch(), 420, 3)


@pytest.fixture(scope="session")
def arena(sample_bars: pd.DataFrame) -> Arena:
    return build_arena("sample", sample_bars)


@pytest.fixture(scope="session")
def real_bars(market_data: Path) -> dict[str, pd.DataFrame]:
    """Daily, hourly and 5-minute bars, small."""
    files = {
        "daily": ("sp500_daily/panel.parquet", "1Day", "date"),
        "hourly": ("lean_hourly/hourly.parquet", "1Hour", "ts"),
        "5min": ("intraday_5min_2025/bars_5min.parquet", "5Min", "ts"),
    }
    found = {}
    for name, (path, frame, column) in files.items():
        zone = None if frame == "1Day" else NEW_YORK
        config = FilesConfig(
            market_data / path, Timeframe.parse(frame), "symbol_column", columns={"timestamp": column}, timezone=zone, off_session="drop"
        )
        found[name] = recent(FilesSource(config).fetch(), 420, 3)
    return found
