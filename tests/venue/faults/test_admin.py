"""Faults by the admin API: armed whole or not at all, counted, disarmed with what they had changed."""

from __future__ import annotations

import pytest
import requests
from fault_world import venue
from venue_world import FLAT, daily_bars, exchange

from alphatrade_pipelines.venue import Exchange, ExchangeConfig
from alphatrade_pipelines.venue.entry import main
from alphatrade_pipelines.venue.faults.scenario import ScenarioError, load, parse, shipped
from alphatrade_pipelines.venue.server.app import ServerConfig, VenueServer


def flat() -> Exchange:
    return exchange(daily_bars({"AAA": [FLAT] * 6, "BBB": [FLAT] * 6}))


def test_many_are_armed_or_none() -> None:
    with venue(flat()) as v:
        good, bad = {"kind": "http_error"}, {"kind": "halt", "symbol": "ZZZ"}
        answer = v.ask("POST", "faults", [good, bad])
        assert (answer.status_code, answer.json()["code"]) == (422, 40010001)
        assert "unknown symbol 'ZZZ'; the tape has AAA, BBB" in answer.json()["message"]
        assert v.admin("GET", "faults")["faults"] == []
        assert v.raw("GET", "/v2/clock").status_code == 200
        armed = v.admin("POST", "faults", {"seed": 3, "faults": [good, {**bad, "symbol": "BBB", "for_seconds": 60}]})
        assert armed["armed"] == ["fault-1", "fault-2"]
        assert v.raw("GET", "/v2/clock").status_code == 503


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"kind": "earthquake"}, "unknown kind 'earthquake'; the kinds are"),
        ([], "expected"),
        ("drop", "expected"),
        ({"faults": [3]}, "expected"),
        ({"seed": "x", "faults": [{"kind": "drop"}]}, "seed"),
        ({"kind": "drop", "at": "session 99 open"}, "sessions 1 to 5"),
        ({"kind": "early_close", "time": "19:00"}, "between 09:31 and 15:59"),
    ],
)
def test_what_cannot_be_armed_is_refused(body: object, said: str) -> None:
    with venue(flat()) as v:
        answer = v.ask("POST", "faults", body)
        assert (answer.status_code, answer.json()["code"]) == (422, 40010001)
        assert said in answer.json()["message"]
        assert v.admin("GET", "faults")["faults"] == []


def test_disarming_undoes_what_lasts() -> None:
    with venue(flat()) as v:
        v.until("session_open")
        (first,) = v.admin("POST", "faults", {"kind": "restrict", "what": "account_blocked"})["armed"]
        v.admin("POST", "faults", {"kind": "cancel_lag"})
        v.admin("POST", "faults", {"kind": "asset", "symbol": "AAA", "tradable": False})
        assert v.trading.get_account().account_blocked is True
        assert v.trading.get_asset("AAA").tradable is False
        assert v.exchange.fidelity.cancel_lag_seconds == 30
        assert v.admin("DELETE", f"faults/{first}")["disarmed"] == [first]
        assert v.trading.get_account().account_blocked is False
        assert len(v.admin("DELETE", "faults")["disarmed"]) == 2
        assert v.trading.get_asset("AAA").tradable is True
        assert v.exchange.fidelity.cancel_lag_seconds == 0
        assert v.ask("DELETE", f"faults/{first}").status_code == 404
        assert v.ask("POST", "faults/release", {"id": "held-9"}).status_code == 404


def test_what_the_exchange_cannot_do_when_the_time_comes_ends_the_fault_not_the_step() -> None:
    with venue(flat()) as v:
        order = {"kind": "foreign_order", "symbol": "AAA", "qty": 1e7, "at": "+1m after open"}
        v.admin("POST", "faults", [order, {"kind": "restrict", "at": "+2m after open"}])
        v.until("session_open")
        v.step()
        refused, restricted = v.admin("GET", "faults")["faults"]
        assert (refused["failed"], refused["armed"]) == ("insufficient buying power", False)
        assert (restricted["failed"], restricted["done"]) == (None, 1)


def test_a_state_turned_on_twice_is_turned_off_for_good() -> None:
    with venue(flat()) as v:
        v.admin("POST", "faults", {"kind": "cancel_lag", "times": 2, "seconds": 7})
        v.step()
        v.step()
        assert v.exchange.fidelity.cancel_lag_seconds == 7
        v.admin("DELETE", "faults")
        assert v.exchange.fidelity.cancel_lag_seconds == 0


def test_counts_and_moments_are_shown() -> None:
    with venue(flat()) as v:
        v.admin("POST", "faults", {"kind": "http_error", "endpoint": "GET /v2/clock", "after_count": 2, "times": 2})
        assert [v.raw("GET", "/v2/clock").status_code for _ in range(5)] == [200, 503, 503, 200, 200]
        assert v.raw("GET", "/v2/account").status_code == 200
        (fault,) = v.admin("GET", "faults")["faults"]
        assert (fault["armed"], fault["done"], fault["opportunities"], len(fault["struck_at"])) == (False, 2, 3, 2)
        assert fault["struck_at"][0] == v.admin("GET", "state")["at"]


def test_by_symbol() -> None:
    with venue(flat()) as v:
        v.admin("POST", "faults", {"kind": "http_error", "symbol": "BBB", "times": 9})
        assert v.send().status_code == 200
        assert v.send(symbol="BBB").status_code == 503
        order = v.send().json()
        assert v.raw("DELETE", f"/v2/orders/{order['id']}").status_code == 204
        assert v.raw("GET", "/v2/positions/BBB").status_code == 503


def test_an_exchange_fault_after_so_many_requests_of_an_endpoint() -> None:
    with venue(flat()) as v:
        v.until("session_open")
        v.admin("POST", "faults", {"kind": "restrict", "endpoint": "POST /v2/orders", "after_count": 3})
        assert [v.send().status_code for _ in range(4)] == [200, 200, 200, 403]


def test_the_short_way_arms_a_kind_so_many_times() -> None:
    with venue(flat()) as v:
        v.admin("POST", "fault", {"kind": "http_error", "count": 2})
        v.admin("POST", "fault", {"kind": "halt"})
        assert list(v.exchange.halts) == ["AAA"]
        assert [v.raw("GET", "/v2/clock").status_code for _ in range(3)] == [503, 503, 200]
        v.admin("POST", "fault", {"kind": "halt", "count": 0})
        assert v.exchange.halts == {}
        for body in ({"kind": "earthquake"}, {"kind": "halt", "count": -1}, {"kind": 3}, [], {"kind": "manual_trade"}):
            assert v.ask("POST", "fault", body).status_code == 422


def test_the_same_requests_are_struck_alike() -> None:
    found = []
    for _ in range(2):
        with venue(flat()) as v:
            v.admin("POST", "faults", {"seed": 11, "faults": [{"kind": "http_error", "probability": 0.3}]})
            found.append([v.raw("GET", "/v2/clock").status_code for _ in range(40)])
    assert found[0] == found[1]
    assert 4 <= found[0].count(503) <= 20


def test_every_shipped_scenario_can_be_armed_on_any_tape_and_played_to_its_end() -> None:
    for name in shipped():
        ex = flat()
        injector = VenueServer(ex, ServerConfig(scenario=load(name.split("_")[0]))).injector
        while ex.next_step_at is not None:
            injector.before_step()
            step = ex.advance()
            assert step is not None
            injector.on_step(step.kind)
        assert injector.describe()["scenarios"] == [name]


def test_nothing_is_armed_of_a_scenario_this_tape_cannot_play() -> None:
    scenario = parse('[[fault]]\nkind = "restrict"\n[[fault]]\nkind = "halt"\nsymbol = "NOPE"')
    ex = flat()
    with pytest.raises(ScenarioError, match="unknown symbol 'NOPE'"):
        VenueServer(ex, ServerConfig(scenario=scenario))
    assert not ex.restrictions.trading_blocked


def test_held_requests_do_not_keep_a_venue_from_ending() -> None:
    with venue(flat()) as v:
        v.admin("POST", "faults", {"kind": "hold", "seconds": 600})
        with pytest.raises(requests.exceptions.ReadTimeout):
            v.send(timeout=0.2)
        assert len(v.admin("GET", "faults")["held"]) == 1  # and the venue ends within the ten seconds it is given


class TestCommand:
    def test_the_list_names_every_failure_and_kind(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "250")
        assert main(["faults"]) == 0
        shown = capsys.readouterr().out
        for number in range(1, 31):
            assert f"F{number} " in shown
        assert "mute_trade_updates" in shown
        assert "lag_seconds (venue seconds) = 5.0" in shown

    def test_one_scenario_is_printed_as_it_is(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["faults", "f13"]) == 0
        assert capsys.readouterr().out == shipped()["f13_stop_leg_new_id"]

    def test_what_is_none_is_one_clear_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["faults", "f99"]) == 2
        assert main(["--faults", "f99"]) == 2
        assert main(["faults", "f01", "f02"]) == 2
        assert capsys.readouterr().err.count("no scenario 'f99'") == 2


def test_seeds_reach_the_exchange_only_through_its_own_configuration() -> None:
    """A scenario's seed draws faults, never fills: an armed fault that does not strike changes no execution."""
    digests = []
    for faults in ((), ({"kind": "http_error", "probability": 0.0},)):
        ex = exchange(daily_bars({"AAA": [FLAT] * 6}), "pessimistic", seed=3)
        assert isinstance(ex.config, ExchangeConfig)
        with venue(ex) as v:
            if faults:
                v.admin("POST", "faults", {"seed": 99, "faults": list(faults)})
            for number in range(4):
                v.send(client_order_id=f"o{number}")
                v.until("session_close")
            digests.append(v.ledger("?parts=orders")["digest"])
    assert digests[0] == digests[1]
