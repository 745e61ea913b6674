"""The invented hours before and after the sessions."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from venue_world import daily_bars

from alphatrade_pipelines.market import SessionCalendar, SyntheticConfig, SyntheticSource, Timeframe
from alphatrade_pipelines.venue import BarTape
from alphatrade_pipelines.venue.entry import config_of
from alphatrade_pipelines.venue.extended import with_extended_hours
from alphatrade_pipelines.venue.run import load_tape

FIVE = Timeframe(5)


def market(symbols: tuple[str, ...] = ("AAA", "BBB")) -> pd.DataFrame:
    return SyntheticSource(SyntheticConfig(3, symbols, date(2024, 7, 1), date(2024, 7, 8), FIVE)).fetch()  # a half day inside


def test_the_session_stays_as_it_was_and_every_hour_from_four_to_eight_is_played() -> None:
    bars = market()
    made = with_extended_hours(bars, FIVE)
    assert made.loc[bars.index].equals(bars)
    tape = BarTape(made, FIVE, extended_hours=True)
    assert tape.ignored_bars == 0
    assert len(tape.sessions) == 5
    kinds = [point.kind for point in tape.points(1) if point.phase == 0]  # 3 July closes at 13:00
    assert [kinds.count(kind) for kind in ("pre_market", "after_hours")] == [66, 48]
    assert BarTape(made, FIVE).frame.equals(BarTape(bars, FIVE).frame)


def test_prices_join_but_for_the_first_one_of_a_morning_and_bars_are_sound() -> None:
    made = with_extended_hours(market(("AAA",)), FIVE).loc["AAA"]
    assert (made["low"] <= made[["open", "close"]].min(axis=1)).all()
    assert (made["high"] >= made[["open", "close"]].max(axis=1)).all()
    jumps = (made["open"] / made["close"].shift() - 1).abs().dropna()
    nights = pd.Series(made.index, made.index).diff() > pd.Timedelta(hours=5)
    assert jumps[~nights].max() < 0.001


def test_who_follows_the_early_morning_does_not_know_the_open() -> None:
    """Buying at 6:00 what has risen since the evening (selling what fell) and leaving at the open earned 39 basis points a morning, nine
    standard errors, while the whole overnight move was walked."""
    sessions = SessionCalendar().sessions("2024-01-02", "2024-12-20")
    rng, price, rows, index = np.random.default_rng(1), 100.0, [], []
    for open_, close in zip(sessions["open"], sessions["close"], strict=True):
        price *= float(np.exp(rng.normal(0, 0.01)))
        for start in pd.date_range(open_, close - FIVE.duration, freq=FIVE.duration):
            after = price * float(np.exp(rng.normal(0, 0.002)))
            low, high = sorted((price, after))
            rows.append((price, high, low, after, 1e5))
            index.append(("AAA", start))
            price = after
    bars = pd.DataFrame(
        rows, pd.MultiIndex.from_tuples(index, names=["symbol", "timestamp"]), ["open", "high", "low", "close", "volume"]
    ).round(2)
    made, gains = with_extended_hours(bars, FIVE, 3).loc["AAA"], []
    for open_ in sessions["open"][1:]:
        evening = made["close"].iloc[made.index.searchsorted(open_ - pd.Timedelta(minutes=330)) - 1]
        six, nine_thirty = made.loc[open_ - pd.Timedelta(minutes=210), "open"], made.loc[open_, "open"]
        gains.append(np.sign(six - evening) * (nine_thirty / six - 1.0))
    assert abs(np.mean(gains)) < 3.0 * np.std(gains) / np.sqrt(len(gains))


def test_a_seed_and_a_symbol_give_one_market() -> None:
    one, both = with_extended_hours(market(("AAA",)), FIVE, seed=4), with_extended_hours(market(), FIVE, seed=4)
    assert one.loc["AAA"].equals(both.loc["AAA"])
    assert not one.equals(with_extended_hours(market(("AAA",)), FIVE, seed=5))


def test_daily_bars_are_refused() -> None:
    with pytest.raises(ValueError, match="expected intraday bars"):
        with_extended_hours(daily_bars({"AAA": [(1.0, 1.0, 1.0, 1.0, 1.0)]}), "1Day")


def test_the_command_plays_them_on_request() -> None:
    wide = load_tape(config_of(["--bars", "synthetic", "--symbols", "AAA", "--extended-hours"]).bars)
    plain = load_tape(config_of(["--bars", "synthetic", "--symbols", "AAA"]).bars)
    assert wide.sessions == plain.sessions
    assert {point.kind for point in wide.points(0)} - {point.kind for point in plain.points(0)} == {"pre_market", "after_hours"}
    with pytest.raises(ValueError, match="expected intraday bars"):
        load_tape(config_of(["--bars", "sample", "--extended-hours"]).bars)
