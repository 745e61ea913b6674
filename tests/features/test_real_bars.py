"""Real bars of every kind: batch = stream = truncated batch = resumed stream, to the last bit; the default sets have values there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.features import FeaturePipeline
from alphatrade_pipelines.market import FilesConfig, FilesSource, Timeframe

NEW_YORK = "America/New_York"
SETS = {
    # a symbol of the last set begins late in every one of them, half days and splits lie inside
    "1Day": ("sp500_daily/panel.parquet", "date", None, ["A", "AAPL", "ABBV", "ADBE"], ("2012-01-01", "2015-06-30")),
    "1Hour": ("lean_hourly/hourly.parquet", "ts", NEW_YORK, ["SPY", "AAPL", "IBM"], ("2013-10-01", "2014-08-01")),
    "5Min": ("intraday_5min_2025/bars_5min.parquet", "ts", NEW_YORK, ["SPY", "AAPL", "NVDA", "ORCL"], ("2025-06-16", "2025-07-15")),
}


@pytest.fixture(params=sorted(SETS))
def real(request, market_data) -> tuple[str, pd.DataFrame]:
    path, column, zone, symbols, span = SETS[request.param]
    frame = Timeframe.parse(request.param)
    config = FilesConfig(market_data / path, frame, "symbol_column", columns={"timestamp": column}, timezone=zone, off_session="drop")
    return request.param, FilesSource(config).fetch(symbols, *span)


def test_real_bars(real, same_bits) -> None:
    timeframe, bars = real
    if timeframe == "1Hour":  # the data ignore splits; AAPL's 7:1 of 2014-06-09 lies inside
        bars.loc[("AAPL", bars.loc["AAPL"].index[bars.loc["AAPL"].index >= pd.Timestamp("2014-06-09", tz=NEW_YORK)][0]), "split"] = 7.0
    stamps = bars.index.get_level_values("timestamp")
    times = stamps.unique().sort_values()
    late = (bars.index.get_level_values("symbol") == bars.index.get_level_values("symbol")[-1]) & (stamps < times[len(times) // 2])
    bars = bars[~late]
    stamps = bars.index.get_level_values("timestamp")
    fitted = FeaturePipeline.default(timeframe).fit(bars[stamps <= times[int(0.7 * len(times))]])
    batch = fitted.transform(bars)
    assert batch.loc[bars.index[0][0]].iloc[max(fitted.warmup.values()) :].notna().mean().min() > 0.9
    last = times[-30:]
    stream, found = fitted.stream(bars[stamps < last[0]]), []
    for at, stamp in enumerate(last):
        if at == 11:
            stream = fitted.resume(stream.to_json())
        found.append(stream.update(bars[stamps == stamp]))
    assert same_bits(pd.concat(found).sort_index(), batch[stamps >= last[0]]) == []
    for cut in times[np.linspace(3, len(times) - 2, 8).astype(int)]:
        assert same_bits(fitted.transform(bars[stamps <= cut]), batch[stamps <= cut]) == [], cut
