"""Scenarios are read whole or refused with a sentence that says what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from venue_world import FLAT, daily_bars

from alphatrade_pipelines.venue import BarTape
from alphatrade_pipelines.venue.faults.armed import Armed
from alphatrade_pipelines.venue.faults.catalogue import FAILURES, KINDS
from alphatrade_pipelines.venue.faults.scenario import ScenarioError, faults_of, load, moment, parse, shipped

TAPE = BarTape(daily_bars({"AAA": [FLAT] * 5}), "1Day")
BEFORE = TAPE.sessions[0].close + timedelta(hours=1)


def armed(**keys: object) -> Armed:
    (fault,) = faults_of([{"kind": "http_error", **keys}])
    return Armed("fault-1", fault, 7, None)


def strikes(one: Armed, chances: int, at: datetime = BEFORE, wall: float = 0.0) -> list[int]:
    """Numbers of the opportunities that were struck."""
    return [number for number in range(1, chances + 1) if one.strike(at, wall)]


def test_every_failure_has_kinds_and_every_kind_a_failure() -> None:
    assert sorted(FAILURES) == list(range(1, 31))
    assert {number for kind in KINDS.values() for number in kind.rehearses} == set(FAILURES)
    assert all(kind.rehearses and kind.does.endswith(".") for kind in KINDS.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fault = 3", "at least one [[fault]]"),
        ("seed = 1", "at least one [[fault]]"),
        ("[[fault]]\nkind = 'earthquake'", "unknown kind 'earthquake'; the kinds are http_error, "),
        ("[[fault]]\nkind = 'drop'\nsecond = 1", "unknown key 'second'; expected some of kind, at"),
        ("speed = 1\n[[fault]]\nkind = 'drop'", "unknown key 'speed'"),
        ("seed = 'x'\n[[fault]]\nkind = 'drop'", "seed to be a whole number"),
        ("[[fault]]\nkind = 'hang'\nseconds = '5s'", "expected seconds in wall seconds"),
        ("[[fault]]\nkind = 'hang'\nseconds = -1", "from 0 to"),
        ("[[fault]]\nkind = 'hang'\nseconds = true", "expected seconds in wall seconds"),
        ("[[fault]]\nkind = 'hold'\nstage = 'during'", "one of before, after"),
        ("[[fault]]\nkind = 'http_error'\nstatus = 200", "from 400 to 599"),
        ("[[fault]]\nkind = 'http_error'\nstatus = 500.5", "whole number"),
        ("[[fault]]\nkind = 'http_error'\nafter_count = 0", "after_count to be a whole number >= 1"),
        ("[[fault]]\nkind = 'http_error'\nprobability = 1.5", "a probability from 0 to 1"),
        ("[[fault]]\nkind = 'http_error'\nendpoint = '/v2/orders'", 'expected endpoint as "POST /v2/orders"'),
        ("[[fault]]\nkind = 'mute_data'\nendpoint = 'GET /v2/orders'", "strikes no requests"),
        ("[[fault]]\nkind = 'halt'", "symbol is required"),
        ("[[fault]]\nkind = 'manual_trade'\nsymbol = 'A'", "qty is required"),
        ("[[fault]]\nkind = 'split'\nsymbol = 'A'\nfor_seconds = 5", "happens at once"),
        ("[[fault]]\nkind = 'drop'\nat = 'tomorrow'", 'expected at as "session 2 10:30"'),
        ("[[fault]]\nkind = 'drop'\nat = 2024-03-05T15:00:00", "expected at as"),
        ("[[fault]]\nkind = 'drop'\nat = 'session 2 25:30'", "expected at as"),
        ("[[fault", "is not TOML"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(text: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text)
    assert said in str(caught.value)


def test_a_scenario_of_several_faults_is_read_in_order() -> None:
    found = parse(
        'seed = 9\n[[fault]]\nkind = "drop"\n[[fault]]\nkind = "halt"\nsymbol = "AAA"\nfor_seconds = 60\nat = 2024-03-05T15:00:00Z'
    )
    drop, halt = found.faults
    assert (found.seed, drop.kind.name, drop.endpoint, drop.times, drop.text("stage")) == (9, "drop", "POST /v2/orders", 1, "after")
    assert (halt.symbol, halt.for_seconds, halt.text("code"), halt.at) == ("AAA", 60.0, "T1", "2024-03-05T15:00:00+00:00")


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("session 1 open", TAPE.sessions[1].open),
        ("session 2 close", TAPE.sessions[2].close),
        ("session 2 10:30", TAPE.sessions[2].open + timedelta(hours=1)),
        ("+15m after open", TAPE.sessions[1].open + timedelta(minutes=15)),
        ("10m before close", TAPE.sessions[1].close - timedelta(minutes=10)),
        ("+30s", BEFORE + timedelta(seconds=30)),
        ("2024-03-06T10:00:00-05:00", datetime(2024, 3, 6, 15, tzinfo=UTC)),
    ],
)
def test_moments(at: str, expected: datetime) -> None:
    assert moment(at, BEFORE, TAPE.sessions, 1) == expected


@pytest.mark.parametrize(
    ("at", "said"), [("session 5 open", "sessions 1 to 4"), ("session 0 open", "sessions 1 to 4"), ("2024-03-01T10:00:00Z", "has passed")]
)
def test_moments_this_tape_does_not_have(at: str, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        moment(at, BEFORE, TAPE.sessions, 1)


def test_counts() -> None:
    assert strikes(armed(), 5) == [1]
    assert strikes(armed(times=3), 5) == [1, 2, 3]
    assert strikes(armed(after_count=3), 5) == [3]
    assert strikes(armed(after_count=2, every=3), 9) == [2, 5, 8]
    assert strikes(armed(every=2, times=2), 9) == [1, 3]


def test_draws_are_of_the_seed_and_the_counter() -> None:
    first = strikes(armed(probability=0.2), 1000)
    assert first == strikes(armed(probability=0.2), 1000)
    assert 150 < len(first) < 250


def test_a_window_on_the_wall_clock_ends_by_it() -> None:
    one = armed(for_seconds=10)
    assert strikes(one, 2, wall=100.0) == [1, 2]
    assert strikes(one, 1, wall=109.9) == [1]
    assert strikes(one, 1, wall=110.0) == []
    assert one.over


def test_a_window_in_venue_time_begins_at_its_hour() -> None:
    (fault,) = faults_of([{"kind": "mute_data", "at": "session 1 open", "for_seconds": 60}])
    opened = TAPE.sessions[1].open
    one = Armed("fault-1", fault, 0, opened)
    assert not one.strike(BEFORE, 0.0)
    assert one.strike(opened + timedelta(seconds=59), 0.0)
    assert not one.strike(opened + timedelta(seconds=60), 0.0)


def test_endpoints() -> None:
    (fault,) = faults_of([{"kind": "http_error", "endpoint": "GET /v2/orders/{id}"}])
    assert fault.matches("GET", "/v2/orders/abc")
    assert not fault.matches("GET", "/v2/orders")
    assert not fault.matches("DELETE", "/v2/orders/abc")
    (everything,) = faults_of([{"kind": "http_error", "endpoint": "* /v2/*"}])
    assert everything.matches("DELETE", "/v2/positions")


def test_scenarios_by_name_and_by_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[[fault]]\nkind = "drop"')
    assert load(str(file)).name == "mine"
    with pytest.raises(ScenarioError, match="found nothing"):
        load(str(tmp_path / "none.toml"))
    with pytest.raises(ScenarioError, match=r"no scenario 'f99'.*f01, "):
        load("f99")


def test_one_scenario_is_shipped_for_each_failure() -> None:
    found = shipped()
    assert [name.split("_")[0] for name in found] == [f"f{number:02d}" for number in FAILURES]
    for name, text in found.items():
        number = int(name[1:3])
        scenario = load(name.split("_")[0])
        assert scenario == parse(text, name)
        assert any(number in fault.kind.rehearses for fault in scenario.faults), name
        assert text.startswith(f"# F{number} ")
