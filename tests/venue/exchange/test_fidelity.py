"""The switches as values: texts from the command line and TOML, refusals, swaps at run time. What each does is tested where it acts."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from venue_world import FLAT, D, buy, daily_bars, exchange, until

from alphatrade_pipelines.venue import Fidelity, VenueError


def test_texts_become_values() -> None:
    given: dict[str, object] = {
        "wash_check": "false",
        "gtc_days": "30",
        "cancel_lag_seconds": "0.5",
        "market_closed": "reject",
        "partial_fill_probability": 0.1,
        "duplicate_client_id_status": 409,
    }
    found = Fidelity.of(given)
    assert found == Fidelity(
        wash_check=False,
        gtc_days=30,
        cancel_lag_seconds=0.5,
        market_closed="reject",
        partial_fill_probability=0.1,
        duplicate_client_id_status=409,
    )
    assert type(found.gtc_days) is int
    assert type(found.cancel_lag_seconds) is float


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("wash", "true", "a fidelity switch out of held_in_open_list"),
        ("wash_check", "maybe", "wash_check to be true or false"),
        ("gtc_days", "1.5", "gtc_days to be a whole number"),
        ("gtc_days", True, "gtc_days to be a whole number"),
        ("gtc_days", "0", "gtc_days >= 1"),
        ("cancel_lag_seconds", "-1", "cancel_lag_seconds >= 0"),
        ("cancel_lag_seconds", "soon", "cancel_lag_seconds to be a number"),
        ("replace_lag_seconds", "nan", "replace_lag_seconds to be a number"),
        ("market_closed", "wait", "market_closed out of"),
        ("day_end_status", "gone", "day_end_status out of"),
        ("partial_fill_probability", "2", "between 0 and 1"),
        ("duplicate_client_id_status", "200", "between 400 and 499"),
    ],
)
def test_bad_switches_say_what_was_expected(name: str, value: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Fidelity.of({name: value})


def test_every_switch_is_described() -> None:
    for field in fields(Fidelity):
        assert f"``{field.name}``" in (Fidelity.__doc__ or ""), field.name


def test_switches_can_be_swapped_while_running() -> None:
    ex = exchange(daily_bars({"AAA": [FLAT] * 3}))
    ex.submit(buy(type="limit", limit_price=D(90)))
    ex.fidelity = replace(ex.fidelity, market_closed="reject")
    with pytest.raises(VenueError, match="market is closed"):
        ex.submit(buy())
    ex.fidelity = Fidelity()
    ex.submit(buy())


def test_the_age_of_gtc_orders() -> None:
    ex = exchange(daily_bars({"AAA": [FLAT] * 30}), fidelity=Fidelity(gtc_days=7))
    answer = ex.submit(buy(type="limit", limit_price=D(50), time_in_force="gtc"))
    while ex.order(answer.id).status in ("accepted", "new"):
        until(ex, "session_close")
    ended = ex.order(answer.id)
    assert ended.canceled_at is not None
    assert (ended.canceled_at.date() - ended.created_at.date()).days == 7
