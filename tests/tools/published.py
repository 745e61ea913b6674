"""Data others published, for tests against their printed values."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


def dollar_bars() -> pd.DataFrame:
    """The 1000 E-mini dollar bars of mlfinpy 0.1.2 (dollar_bar_sample.csv without its tick counts; MIT licence, Copyright (c) 2024, Robert
    Bach): date_time (naive), open, high, low, close, cum_vol, cum_dollar."""
    return pd.read_csv(Path(__file__).parent / "emini_dollar_bars.csv", parse_dates=["date_time"])
