"""Resting orders: their place in the queue, trade-through, adverse selection, and what the screen lets through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from venue_world import PLAIN, D, Row, buy, daily_bars, exchange, intraday_bars, play, sell, trades, until

from alphatrade_pipelines.venue import BASE, OPTIMISTIC, PESSIMISTIC, BarTape, ExchangeConfig, Fidelity, FillProfile
from alphatrade_pipelines.venue.exchange import fills
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.matching import Markout
from alphatrade_pipelines.venue.exchange.path import volume_shares
from alphatrade_pipelines.venue.exchange.screen import ALWAYS, LIMIT, STOP, TRAILING, may_trade, screen

QUEUED: FillProfile = replace(PLAIN, limit_through_ticks=1, queue_minutes=0.01)  # plain, but for a queue of 0.01 minutes of volume
FLAT = (100.0, 100.0, 100.0, 100.0, 390_000.0)  # 1,000 shares a minute


def world(*rows: Row, profile: FillProfile = QUEUED, seed: int = 3) -> Exchange:
    """Daily bars after five flat sessions, so that usual volume is known."""
    ex = exchange(daily_bars({"AAA": [FLAT] * 6 + list(rows)}), profile, skip=6, seed=seed)
    assert len(ex.tape.sessions) == 6 + len(rows)
    return ex


def ahead_of(ex: Exchange, client_id: str) -> float:
    """Shares that are ahead of an order which joined in the first bar played."""
    start = ex.tape.series["AAA"].starts[6]
    draw = fills.uniform_draw(ex.config.seed, fills.stable_key("AAA"), start, fills.stable_key(client_id), fills.QUEUE)
    return 2.0 * draw * ex.profile.queue_minutes * 1_000.0


# --- the queue ------------------------------------------------------------------------------------------------------------------------


def test_a_touch_fills_what_trades_beyond_the_shares_ahead() -> None:
    """From 100.00 down to 99.90 are eleven ticks; the low is touched again on the way up to 100.00 and on (both stretches count)."""
    row = (100.0, 100.0, 99.9, 100.0, 3_900.0)
    ex = world(row)
    ex.submit(buy(qty=500, type="limit", limit_price=D("99.90"), client_order_id="queued"))
    play(ex)
    shares = volume_shares(4, 0.4)
    touched = [3_900.0 * (after - before) for before, after in pairwise(shares[2:5])]  # down to the low, and up
    ahead, expected = ahead_of(ex, "queued"), 0
    assert ahead > 0
    for volume in touched:
        at_price = volume / 11
        expected += math.floor(max(0.0, at_price - ahead))
        ahead = max(0.0, ahead - at_price)
    assert expected > 0
    assert sum(fill.qty for fill in ex.fills()) == expected
    assert {fill.price for fill in ex.fills()} == {D("99.90")}


def test_without_enough_volume_at_its_price_the_queue_is_only_shortened() -> None:
    ex = world((100.0, 100.0, 99.0, 100.0, 390_000.0), profile=replace(QUEUED, queue_minutes=50.0))
    ex.submit(buy(qty=10, type="limit", limit_price=D("99.00"), client_order_id="queued"))
    until(ex, "session_open")
    order = ex.book.by_client_id["queued"]
    joined = order.ahead
    assert joined == ahead_of(ex, "queued") > 10_000
    for _ in range(2):
        ex.advance()
    assert not ex.fills()
    assert order.ahead is not None
    assert 0 < order.ahead < joined


def test_trade_through_fills_whatever_the_queue() -> None:
    ex = world((100.0, 100.0, 98.99, 100.0, 390_000.0), profile=replace(QUEUED, queue_minutes=1e9))
    ex.submit(buy(qty=10, type="limit", limit_price=D("99.00")))
    play(ex)
    assert trades(ex) == [("buy", "10", "99.00")]


def test_a_replaced_order_goes_to_the_back() -> None:
    profile = replace(QUEUED, queue_minutes=50.0, half_spread_bps=1.0)
    ex = world((100.0, 100.0, 99.0, 100.0, 390_000.0), (100.0, 100.0, 100.0, 100.0, 1e6), profile=profile)
    first = ex.submit(buy(qty=10, type="limit", limit_price=D("99.00"), client_order_id="queued", time_in_force="gtc"))
    for _ in range(3):
        ex.advance()
    shortened = ex.book.orders[first.id].ahead
    new = ex.replace(first.id, qty=D(9), client_order_id="again")
    assert shortened is not None
    start = ex.market.quotes["AAA"].bar
    draw = fills.uniform_draw(ex.config.seed, fills.stable_key("AAA"), start, fills.stable_key("again"), fills.QUEUE)
    assert ex.book.orders[new.id].ahead == pytest.approx(2 * draw * 50.0 * 1_000.0)


def test_an_order_inside_the_spread_is_first_in_its_queue_and_waits_for_the_next_stretch() -> None:
    profile = replace(QUEUED, half_spread_bps=10.0, spread_multiplier=1.0)  # a quote of 99.90 to 100.10
    rows = [(100.0, 100.2, 99.5, 100.0, 1e6)] * 6
    ex = exchange(intraday_bars("AAA", rows), profile, "5Min", skip=0)
    until(ex, "session_open")
    order = ex.submit(buy(qty=10, type="limit", limit_price=D("100.05")))
    assert ex.order(order.id).status == "new"
    assert ex.book.orders[order.id].ahead == 0.0
    ex.advance()
    assert trades(ex) == [("buy", "10", "100.05")]


def test_a_rested_limit_gets_its_price_inside_the_session_and_the_open_after_a_gap() -> None:
    """Within a session price cannot jump over a resting order to its advantage; overnight it can."""
    rows = [(100.0, 100.5, 99.5, 100.0, 1e6), (98.0, 98.6, 97.0, 98.0, 1e6)]
    ex = exchange(intraday_bars("AAA", rows), PLAIN, "5Min", skip=0)
    until(ex, "session_open")
    ex.submit(buy(qty=10, type="limit", limit_price=D("99.00")))
    play(ex)
    assert trades(ex) == [("buy", "10", "98.60")]  # its 99.00, drawn into the bar
    gap = exchange(daily_bars({"AAA": [FLAT, FLAT, (98.0, 98.6, 97.0, 98.0, 1e6)]}), PLAIN)
    gap.submit(buy(qty=10, type="limit", limit_price=D("99.00"), time_in_force="gtc"))
    play(gap)
    assert trades(gap) == [("buy", "10", "98.00")]


# --- adverse selection ------------------------------------------------------------------------------------------------------------------


def test_good_fills_at_a_touch_are_denied_and_others_never() -> None:
    always = replace(PLAIN, adverse_selection=1.0, limit_through_ticks=1)
    for low, close, filled in ((99.0, 99.5, False), (99.0, 99.0, True), (98.0, 99.5, True)):  # good, bad, traded through
        ex = world((100.0, 100.0, low, close, 1e6), profile=always)
        ex.submit(buy(qty=10, type="limit", limit_price=D("99.00")))
        play(ex)
        assert trades(ex) == ([("buy", "10", "99.00")] if filled else [])


def test_a_takers_fill_does_not_depend_on_the_close() -> None:
    """No bar's close may decide what happens at its open: only where the record of it ends up."""
    made = []
    for close in (97.5, 102.5):
        ex = world((100.0, 103.0, 97.0, close, 1e6), profile=PESSIMISTIC)
        ex.submit(buy(qty=10, client_order_id="taker"))
        until(ex, "session_open")
        assert ex.matcher.markouts() == []  # nobody sees the close early
        play(ex)
        made.append((trades(ex), [markout.per_share for markout in ex.matcher.markouts()]))
    assert made[0][0] == made[1][0] != []
    assert made[0][1] != made[1][1]


def martingale(sessions: int, seed: int, steps: int = 120) -> pd.DataFrame:
    """One-minute bars of a symmetric random walk of ``steps`` ticks of a cent a minute: nothing to win, nothing to lose, no jumps."""
    rng = np.random.default_rng(seed)
    price, frames = 50_000, []
    for day in pd.bdate_range("2024-03-04", periods=sessions):
        walk = price + np.cumsum(rng.choice((-1, 1), size=(390, steps)).ravel())
        minutes = np.column_stack([np.concatenate([[price], walk[steps - 1 : -1 : steps]]), walk.reshape(390, steps)]) / 100
        rows = [(m[0], m.max(), m.min(), m[-1], 100_000.0) for m in minutes.tolist() for m in (np.array(m),)]
        frames.append(intraday_bars("AAA", rows, minutes=1, day=str(day.date())))
        price = int(walk[-1])
    return pd.concat(frames)


def resting_markouts(bars: pd.DataFrame, profile: FillProfile, side: int) -> list[Markout]:
    """One passive order a bar, ``side`` of the market, five ticks away, gone at the end of the bar. Without latency, so that it is there
    from the bar's open: the order of the extremes within a bar is no martingale."""
    tape = BarTape(bars, "1Min")
    chosen = replace(profile, latency_seconds=0.0)
    config = ExchangeConfig(cash=D(10**10), profile=chosen, fidelity=Fidelity(wash_check=False), seed=11)
    ex = Exchange(tape, config)
    while (step := ex.advance()) is not None:
        if step.kind == "path" and step.bars:
            for order in ex.orders():
                ex.cancel(order.id)
            limit = ex.prices()["AAA"] - side * D("0.05")
            ex.submit((buy if side > 0 else sell)(qty=1, type="limit", limit_price=limit))
    return [markout for markout in ex.matcher.markouts() if markout.resting]


@pytest.mark.parametrize("side", [1, -1])
def test_on_a_martingale_pessimistic_passive_fills_lose_and_optimistic_ones_break_even(side: int) -> None:
    bars = martingale(5, seed=5)
    count, mean, t_statistic = {}, {}, {}
    for profile in (OPTIMISTIC, BASE, PESSIMISTIC):
        moves = np.array([markout.per_share for markout in resting_markouts(bars, profile, side)])
        count[profile.name], mean[profile.name] = len(moves), float(moves.mean())
        t_statistic[profile.name] = float(moves.mean() / (moves.std(ddof=1) / np.sqrt(len(moves))))
    assert abs(t_statistic["optimistic"]) < 3.0  # nothing there
    for name in ("base", "pessimistic"):
        assert mean[name] < mean["optimistic"] - 0.005
        assert t_statistic[name] < -2.5
    assert count["optimistic"] > count["base"] > count["pessimistic"] > 400


# --- the screen -------------------------------------------------------------------------------------------------------------------------

prices = st.integers(9_000, 11_000).map(lambda cents: cents / 100)


@given(side=st.sampled_from([1, -1]), trigger=prices, start=prices, end=prices, jump=st.booleans())
def test_the_screen_never_hides_a_stop_or_a_limit_that_trades(side: int, trigger: float, start: float, end: float, jump: bool) -> None:
    begin = end if jump else start
    if not math.isnan(fills.stop_reference(side, trigger, begin, end, jump)):
        assert may_trade(side, STOP, trigger, math.nan, begin, end)
    touched = fills.volume_at_price(1e6, 1.0, trigger, begin, end) > 0
    if touched or fills.traded_through(side, trigger, begin, end, 0.0) or fills.marketable(side, trigger, end, 0.0):
        assert may_trade(side, LIMIT, trigger, math.nan, begin, end)
    assert may_trade(side, ALWAYS, math.nan, math.nan, begin, end)


@given(side=st.sampled_from([1, -1]), best=prices, start=prices, end=prices, trail=st.integers(1, 500))
def test_the_screen_shows_a_trailing_stop_every_better_price(side: int, best: float, start: float, end: float, trail: int) -> None:
    stop = best + side * trail / 100
    better = min(side * (start - best), side * (end - best)) < 0
    elected = max(side * (start - stop), side * (end - stop)) >= 0
    assert may_trade(side, TRAILING, stop, best, start, end) is (better or elected)
    assert may_trade(side, TRAILING, stop, math.nan, start, end)


def test_the_batch_kernel_answers_as_the_single_one() -> None:
    rng = np.random.default_rng(2)
    sides, kinds = rng.choice(np.array([1, -1]), 500), rng.integers(0, 4, 500)
    triggers, bests = np.round(rng.uniform(98, 102, 500), 2), np.round(rng.uniform(98, 102, 500), 2)
    found = np.empty(500, dtype=np.int64)
    count = screen(sides, kinds, triggers, bests, 99.5, 100.5, found)
    rows: Sequence[tuple[int, int, float, float]] = list(zip(*(x.tolist() for x in (sides, kinds, triggers, bests)), strict=True))
    assert found[:count].tolist() == [number for number, row in enumerate(rows) if may_trade(*row, 99.5, 100.5)]
    assert 0 < count < 500


def test_python_touches_only_orders_that_may_trade(monkeypatch: pytest.MonkeyPatch) -> None:
    ex = world((100.0, 101.0, 99.2, 100.0, 1e6), (100.0, 101.0, 99.2, 100.0, 1e6))
    for number in range(50):
        ex.submit(buy(qty=1, type="limit", limit_price=D("50.00") + number, time_in_force="gtc"))
    ex.submit(buy(qty=1, type="limit", limit_price=D("99.50"), time_in_force="gtc"))
    until(ex, "session_open")  # all of them meet the market once
    met = []
    attempt = ex.matcher.attempt
    monkeypatch.setattr(ex.matcher, "attempt", lambda order, *rest: (met.append(order.limit_price), attempt(order, *rest)))
    play(ex)
    assert set(met) == {D("99.50")}
