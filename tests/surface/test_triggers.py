"""What starts work by itself: each sensor and schedule evaluated against a real instance and a really trained home."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from alphatrade_pipelines import bootstrap, monitoring
from alphatrade_pipelines.market import SampleSource
from alphatrade_pipelines.settings import Settings
from assets.data import PERIODS, latest_period
from tests.surface.house import instance_of, repository, settings_of

EVENING = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)


def tick(settings: Settings, sensor: str, cursor: str | None = None) -> Any:
    """One evaluation, as the daemon makes it; the answer holds run requests or the reason for none."""
    with instance_of(settings.home) as instance:
        house = repository(settings)
        context = dg.build_sensor_context(instance=instance, repository_def=house, resources={"settings": settings}, cursor=cursor)
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


def test_what_cannot_have_changed_is_not_worked_out_again(trained_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(trained_home)
    first = tick(settings, "feature_drift")
    monkeypatch.setattr(monitoring, "drift_finding", lambda settings: pytest.fail("nothing has changed"))
    again = tick(settings, "feature_drift", first.cursor)
    assert "nothing new since" in again.skip_message
    assert again.cursor == first.cursor


def test_after_a_retrain_that_a_sensor_asked_for_both_wait(own_home: Path) -> None:
    """Whatever became of it: a retrain that fails is not started again every ten minutes."""
    settings = settings_of(own_home, research={"holdout_sessions": 0})
    run = dg.DagsterRun(
        job_name="retrain", run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.FAILURE, tags={"alphatrade/trigger": "feature_drift"}
    )
    with instance_of(own_home) as instance:
        instance.add_run(run)
    waits = tick(settings, "model_staleness")
    assert not waits.run_requests
    assert "was asked for less than 1 day" in waits.skip_message
    assert run.run_id[:8] in waits.skip_message
    impatient = settings_of(own_home, research={"holdout_sessions": 0}, model={"retrain_cooldown_hours": 0})
    assert len(tick(impatient, "model_staleness").run_requests) == 1


def grown(home: Path, shake: float, feed: float = 1.0) -> Settings:
    """Daily files that go on where the sample ends, each day's move ``shake`` times as wide, volumes those of a feed that sees ``feed`` of
    them; published as the bars of source files."""
    import numpy as np
    import pandas as pd

    from alphatrade_pipelines.market import SessionCalendar

    bars = SampleSource().fetch(settings_of(home).market.symbols, "2000-01-01", "2014-01-01")
    last = bars.index.get_level_values("timestamp").max()
    opens = SessionCalendar().sessions(last + pd.Timedelta(days=1), last + pd.Timedelta(days=120))["open"]
    draw, parts = np.random.default_rng(5), [bars]
    usual = bars.groupby(level="symbol")["volume"].apply(lambda volume: volume.iloc[-120:].median())
    for symbol, rows in bars.groupby(level="symbol"):
        closes = rows["close"].iloc[-1] * np.exp(np.cumsum(draw.normal(0, 0.01 * shake, len(opens))))
        before = np.r_[rows["close"].iloc[-1], closes[:-1]]
        high, low = np.maximum(before, closes) * (1 + 0.004 * shake), np.minimum(before, closes) * (1 - 0.004 * shake)
        plain = {
            "open": before,
            "high": high,
            "low": low,
            "close": closes,
            "volume": usual[symbol] * shake * feed * np.exp(draw.normal(0, 0.3, len(opens))),
            "split": 1.0,
            "dividend": 0.0,
        }
        index = pd.MultiIndex.from_product([[symbol], pd.DatetimeIndex(opens)], names=["symbol", "timestamp"])
        parts.append(pd.DataFrame(plain, index=index)[list(rows.columns)])
    settings = settings_of(home, market={"source": "files", "files": {"path": home / "files"}})
    frame = pd.concat(parts).sort_index()
    bootstrap.bar_store(settings).write(frame, bootstrap.timeframe(settings), "files", synthetic=True)
    return settings


def test_shaken_markets_are_drift(own_home: Path) -> None:
    settings = grown(own_home, shake=12.0)
    first, second = tick(settings, "feature_drift"), tick(settings, "feature_drift")
    (request,) = first.run_requests
    assert request.tags["alphatrade/trigger"] == "feature_drift"
    assert "features drifted" in request.tags["alphatrade/reason"]
    assert "furthest" in (detail := monitoring.drift_finding(settings).detail)
    assert "vol_garman_klass_21" in detail  # ranges are what was shaken
    assert [again.run_key for again in second.run_requests] == [request.run_key]
    assert request.run_key.startswith("feature_drift:1:drift:2013-")


def test_a_change_of_the_volume_feed_is_told_and_asks_for_no_retrain(own_home: Path) -> None:
    """A retrain on consolidated volume before and a single venue's after would learn the switch."""
    from assets.health import model_health

    settings = grown(own_home, shake=1.0, feed=0.03)
    seen = tick(settings, "feature_drift")
    assert not seen.run_requests
    assert "the volume feed changed on 2013-03" in seen.skip_message
    assert "drifted features are explained by it" in seen.skip_message
    health = monitoring.model_health(settings)
    assert health is not None
    assert health.inputs.feed is not None
    assert health.inputs.feed.factor == pytest.approx(0.03, rel=0.35)
    page = model_health(settings=settings).metadata
    assert "volume feed changed" in str(page["alarm"])


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
