"""What starts work by itself: each sensor and schedule evaluated against a real instance and a really trained home."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from alphatrade_pipelines import bootstrap, research
from alphatrade_pipelines.market import SampleSource
from alphatrade_pipelines.settings import Settings
from assets.data import PERIODS, latest_period
from tests.surface.house import instance_of, repository, settings_of

EVENING = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)


def tick(settings: Settings, sensor: str) -> Any:
    """One evaluation, as the daemon makes it; the answer holds run requests or the reason for none."""
    with instance_of(settings.home) as instance:
        house = repository(settings)
        context = dg.build_sensor_context(instance=instance, repository_def=house, resources={"settings": settings})
        return house.get_sensor_def(sensor).evaluate_tick(context)


def nightly(settings: Settings, evening: datetime = EVENING) -> Any:
    with instance_of(settings.home) as instance:
        house = repository(settings)
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=evening, repository_def=house, resources={"settings": settings}
        )
        return house.get_schedule_def("nightly_retrain").evaluate_tick(context)


@pytest.mark.parametrize("sensor", ["model_staleness", "feature_drift"])
def test_a_fresh_champion_is_left_alone(sensor: str, trained_home: Path) -> None:
    seen = tick(settings_of(trained_home), sensor)
    assert not seen.run_requests
    assert "champion 1" in seen.skip_message


@pytest.mark.parametrize("sensor", ["model_staleness", "feature_drift", "live_watchdog"])
def test_an_empty_home_asks_for_nothing(sensor: str, tmp_path: Path) -> None:
    seen = tick(settings_of(tmp_path / "home"), sensor)
    assert not seen.run_requests
    assert seen.skip_message in ("no champion yet: the first retrain is a person's decision", "no live run")
    assert not (tmp_path / "home" / "mlflow" / "mlflow.db").exists(), "asking must not make an empty registry"


def test_staleness_asks_for_the_newest_period_once_per_cause(trained_home: Path) -> None:
    """With nothing kept back, the champion knows nothing of the last half year that could have taught it."""
    settings = settings_of(trained_home, research={"holdout_sessions": 0})
    first, second = tick(settings, "model_staleness"), tick(settings, "model_staleness")
    (request,) = first.run_requests
    assert request.partition_key == latest_period() == PERIODS.get_last_partition_key() == "2013"
    assert request.tags["alphatrade/trigger"] == "model_staleness"
    assert "knows nothing of the last" in request.tags["alphatrade/reason"]
    assert repository(settings).get_sensor_def("model_staleness").job_name == "retrain"
    # the daemon launches one run for one key; equal causes must give equal keys
    assert [again.run_key for again in second.run_requests] == [request.run_key]
    assert request.run_key.startswith("model_staleness:1:age:")


def grown(home: Path, shake: float) -> Settings:
    """Daily files that go on where the sample ends, each day's move ``shake`` times as wide; published as the bars of source files."""
    import numpy as np
    import pandas as pd

    from alphatrade_pipelines.market import SessionCalendar

    bars = SampleSource().fetch(settings_of(home).market.symbols, "2000-01-01", "2014-01-01")
    last = bars.index.get_level_values("timestamp").max()
    opens = SessionCalendar().sessions(last + pd.Timedelta(days=1), last + pd.Timedelta(days=120))["open"]
    draw, parts = np.random.default_rng(5), [bars]
    for symbol, rows in bars.groupby(level="symbol"):
        closes = rows["close"].iloc[-1] * np.exp(np.cumsum(draw.normal(0, 0.01 * shake, len(opens))))
        before = np.r_[rows["close"].iloc[-1], closes[:-1]]
        high, low = np.maximum(before, closes) * (1 + 0.004 * shake), np.minimum(before, closes) * (1 - 0.004 * shake)
        plain = {"open": before, "high": high, "low": low, "close": closes, "volume": 1e7 * shake, "split": 1.0, "dividend": 0.0}
        index = pd.MultiIndex.from_product([[symbol], pd.DatetimeIndex(opens)], names=["symbol", "timestamp"])
        parts.append(pd.DataFrame(plain, index=index)[list(rows.columns)])
    settings = settings_of(home, market={"source": "files", "files": {"path": home / "files"}})
    frame = pd.concat(parts).sort_index()
    bootstrap.bar_store(settings).write(frame, bootstrap.timeframe(settings), "files", synthetic=True)
    return settings


def test_shaken_markets_are_drift(own_home: Path) -> None:
    settings = grown(own_home, shake=4.0)
    first, second = tick(settings, "feature_drift"), tick(settings, "feature_drift")
    (request,) = first.run_requests
    assert request.tags["alphatrade/trigger"] == "feature_drift"
    assert "features drifted" in request.tags["alphatrade/reason"]
    assert "furthest" in (detail := research.drift_finding(settings).detail)
    assert "vol_garman_klass_21" in detail  # ranges are what was shaken
    assert [again.run_key for again in second.run_requests] == [request.run_key]
    assert request.run_key.startswith("feature_drift:1:drift:2013-")


def test_the_night_after_a_training_on_the_same_bars_is_skipped(trained_home: Path) -> None:
    seen = nightly(settings_of(trained_home))
    assert not seen.run_requests
    assert "champion 1 was trained on exactly these bars" in seen.skip_message


def test_the_night_after_new_bars_retrains_once(own_home: Path) -> None:
    settings = grown(own_home, shake=1.0)
    (request,) = nightly(settings).run_requests
    assert (request.run_key, request.partition_key) == ("nightly:2026-03-02", latest_period())
    assert request.tags["alphatrade/trigger"] == "nightly_retrain"


def test_a_holiday_has_no_night(tmp_path: Path) -> None:
    seen = nightly(settings_of(tmp_path / "home"), datetime(2026, 11, 26, 23, 30, tzinfo=UTC))
    assert not seen.run_requests
    assert "no session" in seen.skip_message


def test_the_first_night_trains(tmp_path: Path) -> None:
    assert len(nightly(settings_of(tmp_path / "home")).run_requests) == 1
