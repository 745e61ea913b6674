"""The invented hours before and after the sessions."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest
from venue_world import daily_bars

from alphatrade_pipelines.market import SyntheticConfig, SyntheticSource, Timeframe
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


def test_prices_join_without_a_jump_and_bars_are_sound() -> None:
    made = with_extended_hours(market(("AAA",)), FIVE).loc["AAA"]
    assert (made["low"] <= made[["open", "close"]].min(axis=1)).all()
    assert (made["high"] >= made[["open", "close"]].max(axis=1)).all()
    jumps = (made["open"] / made["close"].shift() - 1).abs().dropna()
    assert jumps.max() < 0.001  # the overnight gap is walked, not jumped


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
