"""The ledger by which clients are judged: coverage second by second, flips, refusals, and a digest that is never recomputed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from venue_world import FLAT, D, bracket, buy, daily_bars, exchange, play, random_bars, sell, until

from alphatrade_pipelines.venue import Exchange, Fill, VenueError
from alphatrade_pipelines.venue.exchange.ledger import Ledger

SWING = (100.0, 112.0, 90.0, 100.0, 1e6)
SESSION = 6.5 * 3600


def flat(sessions: int = 4) -> Exchange:
    return exchange(daily_bars({"AAA": [FLAT] * sessions}))


def covered(ex: Exchange) -> list[tuple[str, str, float]]:
    """(position, protected quantity, seconds) of every stretch."""
    return [(str(c.position), str(c.protected), (c.end - c.start).total_seconds()) for c in ex.ledger.coverage]


def test_a_bracket_covers_its_position_in_one_stretch_a_session() -> None:
    ex = flat()
    ex.submit(bracket())
    play(ex)
    assert covered(ex) == [("10", "10", SESSION)] * 3
    assert ex.ledger.coverage[0].start == ex.tape.sessions[1].open
    assert ex.ledger.unprotected_seconds == ex.ledger.overprotected_seconds == {}


def test_a_naked_position_is_seen_to_the_second() -> None:
    ex = flat()
    ex.submit(buy())
    until(ex, "session_open")
    ex.tick(ex.now + timedelta(seconds=100))
    ex.submit(sell(type="stop", stop_price=D(95), time_in_force="gtc"))
    until(ex, "session_close")
    assert covered(ex) == [("10", "0", 100.0), ("10", "10", SESSION - 100)]
    assert ex.ledger.unprotected_seconds == {"AAA": 100.0}


def test_a_trailing_stop_protects_and_so_does_part_of_a_position() -> None:
    ex = flat()
    ex.submit(buy())
    until(ex, "session_open")
    ex.submit(sell(qty=4, type="trailing_stop", trail_price=D(5), time_in_force="gtc"))
    until(ex, "session_close")
    assert covered(ex) == [("10", "4", SESSION)]
    assert ex.ledger.unprotected_seconds == {"AAA": SESSION}


def test_the_orders_of_an_oco_count_once_and_limits_do_not_protect() -> None:
    ex = flat()
    ex.submit(buy())
    until(ex, "session_open")
    ex.submit(sell(type="limit", order_class="oco", take_profit=D(110), stop_loss=D(95), time_in_force="gtc"))
    until(ex, "session_close")
    assert covered(ex) == [("10", "10", SESSION)]
    ex.cancel(ex.orders(status="open")[0].id)
    ex.submit(sell(type="limit", limit_price=D(110), time_in_force="gtc"))
    until(ex, "session_close")
    assert covered(ex)[1] == ("10", "0", SESSION)


def test_over_protection_is_seen_when_the_position_shrinks_from_outside() -> None:
    ex = flat()
    ex.submit(bracket())
    until(ex, "session_open")
    ex.levers.manual_trade("AAA", D(-6))
    until(ex, "session_close")
    assert covered(ex) == [("4", "10", SESSION)]
    assert ex.ledger.overprotected_seconds == {"AAA": SESSION}
    assert ex.ledger.unprotected_seconds == {}


def test_both_legs_filling_is_a_flip() -> None:
    ex = exchange(daily_bars({"AAA": [FLAT, FLAT, SWING]}))
    ex.submit(bracket())
    until(ex, "session_close")
    ex.levers.both_legs("AAA")
    play(ex)
    (flip,) = ex.ledger.flips
    assert (flip.symbol, flip.before, flip.after) == ("AAA", D(0), D(-10))
    assert flip.execution_id == ex.fills()[-1].execution_id


def test_round_trips_and_shorts_are_no_flips() -> None:
    ex = flat(6)
    for order in (buy(), sell(), sell(), buy()):
        until(ex, "session_open")
        ex.submit(order)
    assert len(ex.fills()) == 4
    assert ex.ledger.flips == []


def test_refusals_reused_ids_halts_and_wall_order() -> None:
    ex = flat()
    ex.submit(buy(client_order_id="a"))
    for request in (buy(client_order_id="a"), buy(qty=10**9, client_order_id="b"), buy(qty=10**9, client_order_id="c")):
        with pytest.raises(VenueError):
            ex.submit(request)
    ex.levers.halt("AAA")
    ex.submit(buy(client_order_id="d"))
    assert [r.request.client_order_id for r in ex.ledger.receipts] == ["a", "a", "b", "c", "d"]
    assert ex.ledger.reused_client_ids == 1
    assert ex.ledger.refusals == {(40010001, "client_order_id must be unique"): 1, (40310000, "insufficient buying power"): 2}
    assert [r.request.client_order_id for r in ex.ledger.orders_while_halted] == ["d"]


def test_intents_differ_by_their_dollars() -> None:
    ex = flat()
    for name, dollars in (("a", 500), ("b", 600), ("c", 500)):
        ex.submit(replace(buy(client_order_id=name), qty=None, notional=D(dollars)))
    assert ex.ledger.duplicate_intents == [("a", "c")]


def digest_of(fills: list[Fill]) -> str:
    """The definition, from scratch."""
    rows = [[f.client_order_id, f.symbol, f.side, str(f.qty), str(f.price), f.at.isoformat(), str(f.fee)] for f in fills]
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 8), max_size=6))
def test_the_digest_asked_often_is_the_digest_asked_once(pauses: list[int]) -> None:
    ex = exchange(random_bars(symbols=2, sessions=12, seed=3), "pessimistic")
    for pause in pauses:
        ex.submit(buy("AAA" if pause % 2 else "BBB", 5 + pause))
        for _ in range(pause):
            ex.advance()
        assert ex.digest() == digest_of(ex.fills())
    play(ex)
    assert ex.digest() == digest_of(ex.fills())
    assert Ledger().digest([]) == digest_of([])


def test_stretches_tile_the_time_a_position_was_held() -> None:
    """No second is missing or counted twice, and the totals are the sums of the stretches."""
    ex = exchange(random_bars(symbols=3, sessions=30, seed=8), "pessimistic", seed=5)
    number = 0
    while (step := ex.advance()) is not None:
        if step.kind == "session_close":
            symbol = ("AAA", "BBB", "CCC")[number % 3]
            price = ex.prices()[symbol]
            stop, target = (str((price * factor).quantize(D("0.01"))) for factor in (D("0.98"), D("1.02")))
            request = bracket(symbol, 20, target, stop, client_order_id=f"n{number}") if number % 4 else buy(symbol, 7)
            if not ex.cash_account.quantity(symbol):
                ex.submit(request)
            number += 1
    for symbol in ("AAA", "BBB", "CCC"):
        stretches = [c for c in ex.ledger.coverage if c.symbol == symbol]
        assert len(stretches) > 3
        assert all(c.start < c.end for c in stretches)
        assert all(a.end <= b.start for a, b in pairwise(stretches))
        naked = sum((c.end - c.start).total_seconds() for c in stretches if c.protected < abs(c.position))
        assert naked == pytest.approx(ex.ledger.unprotected_seconds.get(symbol, 0.0))
