"""Bars from bars and from trades: made-up minutes and trades, the batch kernels and the live loop."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.timing import Row, timed


def bars() -> list[Row]:
    """Minutes to quarter hours, in batch and live; event bars and CUSUM events."""
    from alphatrade_pipelines.market import LiveBar, SyntheticConfig, SyntheticSource, Timeframe
    from alphatrade_pipelines.market.aggregate import BarAggregator, aggregate_bars
    from alphatrade_pipelines.market.bars import REQUIRED
    from alphatrade_pipelines.market.cusum import cusum_events
    from alphatrade_pipelines.market.event_bars import EventBarConfig, event_bars

    minute, quarter = Timeframe.parse("1Min"), Timeframe.parse("15Min")
    span = pd.Timestamp("2024-01-02").date(), pd.Timestamp("2024-06-28").date()
    minutes = SyntheticSource(SyntheticConfig(3, ("AAA", "BBB"), *span, minute)).fetch()
    flat = minutes.iloc[:5000].reset_index()
    stream = [LiveBar(row.symbol, row.timestamp.to_pydatetime(), *(getattr(row, name) for name in REQUIRED)) for row in flat.itertuples()]

    def live() -> None:
        running = BarAggregator(minute, quarter)
        for bar in stream:
            running.update(bar)

    draw = np.random.default_rng(1)
    count = 1_000_000
    times = pd.Timestamp("2024-01-02 14:30", tz="UTC") + pd.to_timedelta(np.cumsum(draw.integers(0, 40, count)), unit="ms")
    tape = pd.DataFrame(
        {"price": 100 + 0.01 * np.cumsum(draw.integers(-1, 2, count)), "size": draw.integers(1, 20, count) * 100.0},
        index=pd.MultiIndex.from_arrays([np.repeat("AAA", count), times], names=["symbol", "timestamp"]),
    )
    dollars, imbalance = EventBarConfig("dollar", 1e7), EventBarConfig("volume", 1000, imbalance=True)
    closes = np.log(minutes["close"])
    return [
        ("minutes to quarter hours, checked, batch", len(minutes) / timed(lambda: aggregate_bars(minutes, minute, quarter)), "rows/s"),
        ("minutes to quarter hours, live", timed(live) / len(stream) * 1e6, "µs a bar"),
        ("dollar bars, checked", count / timed(lambda: event_bars(tape, dollars)), "trades/s"),
        ("volume imbalance bars, checked", count / timed(lambda: event_bars(tape, imbalance)), "trades/s"),
        ("CUSUM events", len(closes) / timed(lambda: cusum_events(closes, 0.005)), "rows/s"),
    ]
