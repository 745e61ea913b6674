"""The detector is measured: every planted leak caught, no clean twin accused. The short form; `make leaks` is the long one."""

from __future__ import annotations

import pytest

from alphatrade_pipelines.leaks.arena import build_arena
from alphatrade_pipelines.leaks.planted import CATALOGUE, Arena, Plant
from alphatrade_pipelines.leaks.report import ADVICE
from alphatrade_pipelines.leaks.score import mutation_score, probe

# on intraday bars these behave differently from days: sessions, times of day, the end of a bar
INTRADAY = ("high_of_the_period", "last_bar_of_the_period", "off_by_one_label", "same_bar_close")


def test_the_catalogue_is_large_and_named_once() -> None:
    names = [plant.name for plant in CATALOGUE]
    assert len(names) == len(set(names)) >= 30
    assert {plant.kind for plant in CATALOGUE} >= {"feature", "event", "label", "weights", "learner", "prediction", "folds", "fitted"}


@pytest.mark.parametrize("plant", CATALOGUE, ids=lambda plant: plant.name)
def test_leak_is_caught_and_its_twin_is_not(arena: Arena, plant: Plant) -> None:
    caught = probe(plant, plant.leak, arena, cuts=1, thorough=False, until_found=True)
    assert caught.alarms, "a planted leak got through"
    for alarm in caught.alarms:
        assert alarm.before != alarm.after
        assert alarm.where
        assert alarm.count >= 1
        assert alarm.advice in ADVICE.values()
    twin = probe(plant, plant.clean, arena, cuts=1, thorough=False)
    assert twin.alarms == ()
    assert twin.values_checked > 0


def test_on_real_days_hours_and_five_minutes(real_bars) -> None:
    plants = [plant for plant in CATALOGUE if plant.name in INTRADAY]
    assert len(plants) == len(INTRADAY)
    score = mutation_score([build_arena(name, bars) for name, bars in real_bars.items()], plants, cuts=1, thorough=False)
    assert (score.caught, score.planted) == (12, 12)
    assert score.false_alarms == ()
    assert score.passed


def test_a_score_without_power_does_not_pass(arena: Arena) -> None:
    """A twin in place of the leak is not caught, a leak in place of the twin is a false alarm, and a twin that refuses proves nothing."""
    good = next(plant for plant in CATALOGUE if plant.name == "centred_window")

    def refuses(world: object) -> None:
        raise ValueError("never computes")

    blind = Plant("blind", "feature", good.clean, good.clean)
    accused = Plant("accused", "feature", good.leak, good.leak)
    score = mutation_score([arena], [good, blind, accused], cuts=1, thorough=False)
    assert (score.caught, score.planted, score.passed) == (2, 3, False)
    assert score.missed == ("sample/blind",)
    assert score.false_alarms == ("sample/accused",)
    with pytest.raises(ValueError, match="never computes"):
        mutation_score([arena], [Plant("refuses", "feature", refuses, refuses)], cuts=1)
    assert not mutation_score([arena], []).passed
