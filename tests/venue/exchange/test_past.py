"""The exchange as it was: what views that lag behind are made of."""

from __future__ import annotations

from datetime import timedelta

import pytest
from venue_world import FLAT, bracket, buy, daily_bars, exchange, go_to, play, until

from alphatrade_pipelines.venue import Exchange
from alphatrade_pipelines.venue.exchange.past import Past

LAG = 60.0


@pytest.fixture
def ex() -> Exchange:
    one = exchange(daily_bars({"AAA": [FLAT] * 3, "BBB": [FLAT, (100.0, 120.0, 90.0, 110.0, 1e6), FLAT]}))
    until(one, "session_open")
    return one


def shown(ex: Exchange) -> tuple[object, ...]:
    return ex.account(), ex.positions(), ex.orders(status="all"), ex.prices()


def test_what_happens_at_once_is_seen_after_the_lag_and_the_present_goes_on_meanwhile(ex: Exchange) -> None:
    past = Past(ex)
    past.remember(LAG)
    before = shown(ex)
    ex.submit(buy())
    past.remember(LAG)
    ex.submit(bracket("BBB"))
    past.remember(LAG)
    now = shown(ex)
    assert now != before
    for seconds in (0, 59):
        go_to(ex, ex.now + timedelta(seconds=seconds))
        with past.as_it_was(LAG):
            assert shown(ex) == before
        assert shown(ex) == now
    go_to(ex, ex.now + timedelta(seconds=1))
    with past.as_it_was(LAG):
        assert shown(ex) == now


def test_looking_back_changes_nothing_to_come(ex: Exchange) -> None:
    other = exchange(daily_bars({"AAA": [FLAT] * 3, "BBB": [FLAT, (100.0, 120.0, 90.0, 110.0, 1e6), FLAT]}))
    until(other, "session_open")
    past = Past(ex)
    for one in (ex, other):
        one.submit(bracket("BBB", target="112", stop="80"))
    while ex.advance() is not None:
        past.remember(3600.0)
        with past.as_it_was(3600.0):
            shown(ex)
    play(other)
    assert ex.fills()
    assert (ex.digest(), shown(ex)) == (other.digest(), shown(other))


def test_an_error_while_looking_back_leaves_the_present_in_place(ex: Exchange) -> None:
    past = Past(ex)
    past.remember(LAG)
    ex.submit(buy())
    now = shown(ex)
    with pytest.raises(LookupError), past.as_it_was(LAG):
        raise LookupError
    assert shown(ex) == now


def test_without_a_lag_nothing_is_kept(ex: Exchange) -> None:
    past = Past(ex)
    past.remember(LAG)
    ex.submit(buy())
    past.remember(0.0)
    now = shown(ex)
    with past.as_it_was(LAG):
        assert shown(ex) == now
