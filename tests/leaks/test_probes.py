"""What the probes report, what they refuse, and the leaks they are known not to see (docs/leaks.md says so; this keeps it true)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.leaks import (
    LeakProbeError,
    World,
    check_columns,
    check_folds,
    check_universe,
    probe_causal,
    probe_fit,
    probe_labels,
    probe_learner,
)
from alphatrade_pipelines.leaks.arena import build_arena, recent
from alphatrade_pipelines.leaks.planted.base import Arena, each, returns
from alphatrade_pipelines.leaks.poison import NEWCOMER, futures
from alphatrade_pipelines.leaks.world import choose_cuts


def whole_futures(world: World, cut: pd.Timestamp, moment: str = "close") -> dict[str, World]:
    return dict(futures(world, cut, moment))  # type: ignore[arg-type]


def test_every_future_keeps_the_past_to_the_bit(arena: Arena) -> None:
    world = arena.world
    for cut in choose_cuts(world, 2):
        past = world.bars[world.stamps <= cut]
        found = whole_futures(world, cut)
        assert len(found) == 10
        for name, other in found.items():
            pd.testing.assert_frame_equal(other.bars[other.stamps <= cut], past, check_exact=True)
            after = other.bars[other.stamps > cut]
            assert after.empty if name == "truncation" else not after.equals(world.bars[world.stamps > cut])
            assert (other.members["start"] <= cut).all()
            assert not (other.members["end"] > cut).any()
        assert NEWCOMER in found["poison newcomers"].bars.index.get_level_values("symbol")


def test_at_the_open_only_the_open_of_the_bar_is_known(arena: Arena) -> None:
    world = arena.world
    (cut, *_) = choose_cuts(world, 1)
    now = world.bars[world.stamps == cut]
    for name, other in whole_futures(world, cut, "open").items():
        bar = other.bars[other.stamps == cut]
        pd.testing.assert_series_equal(bar["open"], now["open"])
        if name not in ("poison actions", "poison nan"):
            assert (bar["close"] != now["close"]).any(), name
            assert (bar["high"] >= bar["low"]).all(), name


def test_every_other_column_is_poisoned_too(arena: Arena) -> None:
    bars = arena.world.bars.assign(vwap=arena.world.bars["close"], trade_count=5.0)
    world = World(bars)
    (cut, *_) = choose_cuts(world, 1)
    for moment, unknown in (("close", world.stamps > cut), ("open", world.stamps >= cut)):
        other = whole_futures(world, cut, moment)["poison wild"].bars
        assert (other[["vwap", "trade_count"]][unknown] != bars[["vwap", "trade_count"]][unknown]).all().all()
        pd.testing.assert_frame_equal(other[~unknown], bars[~unknown], check_exact=True)


def test_cuts_fall_inside_sessions_and_before_actions(real_bars) -> None:
    world = World(real_bars["5min"])
    last = world.stamps.to_series().groupby(world.stamps.tz_convert("America/New_York").date).max()
    assert not set(choose_cuts(world, 5)) & set(last)
    bars = real_bars["5min"].copy()
    bars.iloc[300, bars.columns.get_loc("split")] = 2.0
    assert bars.index[299][1] in choose_cuts(World(bars), 3)
    with pytest.raises(LeakProbeError, match="time stamps for 0 cuts"):
        choose_cuts(world, 0)


def test_an_alarm_says_what_where_from_what_to_what_and_what_to_do(arena: Arena) -> None:
    report = probe_causal(each(lambda rows: returns(rows).shift(-1).rename("tomorrow")), arena.world, name="mine", cuts=1)
    alarm = report.alarms[0]
    stamp = choose_cuts(arena.world, 1)[0]
    symbol = alarm.where.split()[0]
    close = arena.world.bars.loc[symbol, "close"]
    following = close.index[close.index.get_loc(stamp) + 1]
    assert (alarm.subject, alarm.column, alarm.probe) == ("mine", "tomorrow", "truncation")
    assert alarm.where == f"{symbol} {stamp.isoformat()}"
    assert float(alarm.before) == pytest.approx(np.log(close[following] / close[stamp]))
    assert alarm.after == "nan"
    assert "shift(-n)" in str(alarm)
    assert report.offending == ("tomorrow",)
    assert not report.clean


def test_a_subject_that_refuses_garbage_is_said_so_and_one_that_refuses_all_is_not_clean(arena: Arena) -> None:
    def careful(world: World) -> pd.Series:
        if not np.isfinite(world.bars["close"]).all():
            raise ValueError("NaN in close")
        return world.bars["close"]

    report = probe_causal(careful, arena.world, cuts=1)
    assert report.clean
    assert len(report.refused) == 2 * len(choose_cuts(arena.world, 1))  # nan and inf
    assert "NaN in close" in report.refused[0]

    seen = []

    def once(world: World) -> pd.Series:
        seen.append(1)
        if len(seen) > 1:
            raise RuntimeError("only once")
        return world.bars["close"]

    silent = probe_causal(once, arena.world, cuts=1)
    assert silent.alarms == ()
    assert not silent.clean
    assert "nothing could be compared" in str(silent)


def test_bad_requests_are_named(arena: Arena) -> None:
    stamps = arena.world.stamps
    with pytest.raises(LeakProbeError, match="bars before and after"):
        probe_causal(lambda world: world.bars, arena.world, cuts=[stamps.max()])
    with pytest.raises(LeakProbeError, match="indexed by"):
        probe_causal(lambda world: pd.Series([1.0, 2.0]), arena.world, cuts=1)
    with pytest.raises(LeakProbeError, match="test blocks"):
        probe_fit(lambda world, times: lambda true: true.bars, World(arena.world.bars.groupby(level="symbol").head(5)))
    with pytest.raises(LeakProbeError, match="at least 400 bars"):
        build_arena("small", arena.world.bars.groupby(level="symbol").head(50))


def test_overlap_is_exact(arena: Arena) -> None:
    """One label that ends at the very start of a test label overlaps; one bar earlier it does not."""
    times = pd.date_range("2020-01-01", periods=8, freq="D", tz="UTC")
    index = pd.MultiIndex.from_product([["A"], times], names=["symbol", "timestamp"])
    for end, clean in ((4, False), (3, True)):
        t1 = pd.Series(times + pd.Timedelta(days=1), index=index)
        t1.iloc[2] = times[end]
        folds = [(np.array([0, 1, 2]), np.array([4, 5]))]
        assert check_folds(folds, t1).clean is clean
    late = [(np.array([7]), np.array([4, 5]))]  # the last test label ends on day 6
    t1 = pd.Series(times + pd.Timedelta(days=1), index=index)
    assert check_folds(late, t1).clean
    assert [alarm.probe for alarm in check_folds(late, t1, embargo=1).alarms] == ["embargo"]
    assert [alarm.probe for alarm in check_folds([(np.array([4]), np.array([4, 5]))], t1).alarms] == ["shared rows"]


def test_the_real_panel_of_survivors_is_noticed(market_data) -> None:
    """sp500_daily holds the constituents of 2021 with their whole past: nobody ever leaves."""
    panel = pd.read_parquet(
        market_data / "sp500_daily" / "panel.parquet", columns=["symbol", "date", "close", "split", "dividend", "adjusted_close"]
    )
    index = pd.MultiIndex.from_arrays([panel["symbol"], pd.DatetimeIndex(panel["date"]).tz_localize("UTC")], names=["symbol", "timestamp"])
    bars = panel.drop(columns=["symbol", "date"]).set_axis(index, axis=0).sort_index()
    assert [alarm.probe for alarm in check_universe(World(bars)).alarms] == ["survivors"]
    # as the vendor delivered it, on the day of the download: the last bars are raw, the past is scaled
    recent_rows = recent(bars.assign(open=1.0), 2000, 3)
    scale = (recent_rows["close"] / recent_rows["adjusted_close"]).groupby(level="symbol").transform("last")
    vendor = recent_rows.assign(adjusted_close=recent_rows["adjusted_close"] * scale)
    assert [alarm.column for alarm in check_columns(vendor).alarms] == ["adjusted_close"]


# --- blind spots: what nothing here can see, so that nobody believes it can


def test_blind_to_constants_written_after_looking_at_the_data(arena: Arena) -> None:
    peak = arena.world.bars["close"].groupby(level="symbol").idxmax().map(lambda key: key[1]).max()
    assert probe_causal(lambda world: world.bars["close"] * 0 + (world.stamps < peak), arena.world, cuts=1).clean


def test_blind_to_a_column_that_already_holds_the_future(arena: Arena) -> None:
    """A restated figure, a vendor's flag: it was in the table before any function ran."""
    hindsight = arena.world.bars["close"].groupby(level="symbol").shift(-1).fillna(0.0)
    world = dataclasses.replace(arena.world, bars=arena.world.bars.assign(flag=hindsight))
    assert probe_causal(lambda known: known.bars["flag"], world, cuts=1).clean


def test_blind_to_a_state_fitted_on_the_future_unless_its_fit_is_probed(arena: Arena) -> None:
    spread = float(each(returns)(arena.world).std())
    assert probe_causal(each(lambda rows: returns(rows) / spread), arena.world, cuts=1).clean
    fit = probe_fit(lambda world, times: (lambda s: each(lambda rows: returns(rows) / s))(float(each(returns)(world).std())), arena.world)
    assert {alarm.probe for alarm in fit.alarms} == {"fit isolation"}


def test_blind_to_a_small_panel_of_survivors(arena: Arena) -> None:
    assert check_universe(World(arena.world.bars)).alarms == ()


def test_blind_to_leaks_within_the_training_rows(arena: Arena) -> None:
    """Scores of the rows a model was fitted on, used as if they were out of fold: the test rows are untouched."""

    def stacked(rows, train, test):
        y = rows.y.to_numpy(float)
        own = y[train]  # the best in-sample score there is
        return pd.Series(float(np.corrcoef(own, y[train])[0, 1]), index=rows.X.index[test])

    assert probe_learner(stacked, arena.rows, arena.folds).clean


def test_blind_to_a_subject_with_a_memory(arena: Arena) -> None:
    """A cache filled by the whole sample answers for every other future as well."""
    cache: dict[object, float] = {}

    def remembered(rows: pd.DataFrame) -> pd.Series:
        return returns(rows) / cache.setdefault(rows.index[0][0], float(returns(rows).std()))

    assert probe_causal(each(remembered), arena.world, cuts=1).clean


def test_labels_probe_needs_a_stated_end(arena: Arena) -> None:
    with pytest.raises(KeyError, match="t1"):
        probe_labels(lambda bars, volatility: bars, arena.adjusted, arena.volatility)
