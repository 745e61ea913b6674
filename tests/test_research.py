"""When a retrain is worth its while: what grows, what was seen."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from alphatrade_pipelines import monitoring
from alphatrade_pipelines.features import FeatureInputError
from alphatrade_pipelines.models import BundleFormatError
from alphatrade_pipelines.research import backtesting, champions, nightly
from alphatrade_pipelines.settings import Settings, load_settings


@pytest.mark.parametrize(("source", "skips"), [("sample", True), ("synthetic", True), ("files", False), ("alpaca", False)])
def test_only_a_source_that_never_grows_lets_the_night_be_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, skips: bool
) -> None:
    monkeypatch.setattr(nightly, "trained_on_all", lambda settings: "champion 3 was trained on exactly these bars")
    settings = load_settings(home=tmp_path, market={"source": source, "files": {"path": tmp_path}})
    assert bool(nightly.nothing_new_to_learn(settings)) is skips


@pytest.mark.parametrize(
    ("evening", "reason"),
    [
        ("2026-03-02 18:30", ""),  # a Monday
        ("2026-11-27 18:30", ""),  # the day after Thanksgiving closes at 13:00
        ("2026-12-24 18:30", ""),  # and so does Christmas Eve
        ("2026-11-26 18:30", "no session"),  # Thanksgiving
        ("2026-04-03 18:30", "no session"),  # Good Friday
        ("2026-07-03 18:30", "no session"),  # Independence Day, observed
        ("2026-03-07 18:30", "no session"),  # a Saturday
        ("2026-03-02 15:30", "closes only at 21:00 UTC"),
        ("2026-07-06 15:30", "closes only at 20:00 UTC"),  # summer time
    ],
)
def test_the_night_follows_the_exchange_calendar(evening: str, reason: str) -> None:
    moment = datetime.fromisoformat(evening).replace(tzinfo=ZoneInfo("America/New_York"))
    said = nightly.no_session_ended(moment)
    assert reason in said
    assert bool(said) is bool(reason)


def test_nothing_is_skipped_before_the_first_champion(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    assert nightly.nothing_new_to_learn(settings) == ""
    assert not monitoring.staleness_finding(settings).fires
    assert not monitoring.drift_finding(settings).fires


def test_a_champion_of_another_format_asks_for_a_retrain_instead_of_breaking_the_sensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def older(settings: Settings) -> None:
        raise BundleFormatError(1, 2)

    monkeypatch.setattr(champions, "champion_bundle", older)
    settings = load_settings(home=tmp_path)
    stale = monitoring.staleness_finding(settings)
    assert stale.fires
    assert "format 1" in stale.detail
    assert "Train again" in stale.detail
    assert not monitoring.drift_finding(settings).fires  # one cause, one request
    assert nightly.nothing_new_to_learn(settings) == ""


def test_paths_fall_back_to_the_final_statistics_where_pieces_are_too_short_to_fit_on() -> None:
    asked: list[object] = []

    def walk(refit: object) -> SimpleNamespace:
        asked.append(refit)
        if refit is not None:
            raise FeatureInputError("250 training bars", "at most 229")
        return SimpleNamespace(report="paths")

    own = object()
    assert backtesting.walk_refitted(walk, own) == ("paths", False)  # type: ignore[arg-type,comparison-overlap]
    assert asked == [own, None]
    assert backtesting.walk_refitted(lambda refit: SimpleNamespace(report=refit), own) == (own, True)  # type: ignore[arg-type,return-value,comparison-overlap]
