"""Is the champion still the model for this market? Its age, its live predictions, its inputs: what sensors, the asset and a person ask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.research import champions, nightly, past_sessions, tracking
from alphatrade_pipelines.research.nightly import Finding
from alphatrade_pipelines.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from alphatrade_pipelines.models.bundle import Bundle
    from alphatrade_pipelines.models.drift import DriftReport
    from alphatrade_pipelines.models.registry import VersionInfo
    from alphatrade_pipelines.models.staleness import AgeReport, ScoreReport
    from alphatrade_pipelines.models.volume_feed import VolumeFeedChange

# absent bars among those of the champion's symbols, recent above former, that a person is told of
MISSING_RISE = 0.05


@dataclass(frozen=True, slots=True)
class InputHealth:
    """Recent inputs against training.

    ``drift`` as the model sees them, ``own`` what is left once a change of the volume feed is undone (the same report without one);
    ``feed`` is such a change since the champion's training ended; ``missing``: share of absent bars recently, ``missing_before``: before.
    """

    drift: DriftReport
    own: DriftReport
    feed: VolumeFeedChange | None
    missing: float
    missing_before: float


@dataclass(frozen=True)
class ModelHealth:
    """Everything known about one champion's fitness. ``resolved``: t1, label, probability of its live predictions; ``evidence``: the
    evidence against it after each of them."""

    version: str
    age: AgeReport
    score: ScoreReport
    resolved: pd.DataFrame
    evidence: pd.Series
    inputs: InputHealth


NO_CHAMPION = Finding(False, "no champion yet: the first retrain is a person's decision", "none")


def signature(settings: Settings) -> str:
    """What a finding depends on: champion, bars, journals. Equal signatures, equal findings."""
    version, store = champions.champion_version(settings), bootstrap.bar_store(settings)
    if version is None or not store.exists:
        return ""
    journals = past_sessions.journal_files(settings)
    newest = journals[0].stat().st_mtime_ns if journals else 0
    return f"{version.version}:{store.data_hash()[:16]}:{newest}"


def model_health(settings: Settings) -> ModelHealth | None:
    """The champion's health on the bars in the store; None without a usable champion or bars."""
    import pandas as pd

    champion = _champion(settings)  # of another format: the staleness sensor asks for a new one, a retrain must not fail over the old
    if isinstance(champion, Finding) or not bootstrap.bar_store(settings).exists:
        return None
    version, bundle = champion
    bars = bootstrap.bar_store(settings).read()
    resolved = resolved_predictions(settings, version.version, bars).sort_values("t1", kind="stable")
    base_rate = tracking.registry(settings).metrics(version)["base_rate"]
    score = _score(settings, resolved, base_rate)
    return ModelHealth(
        version.version,
        _age(settings, bundle, bars),
        score,
        resolved,
        pd.Series(score.path, index=resolved["t1"].to_numpy(), dtype=float, name="evidence"),
        _inputs(settings, bundle, bars),
    )


def _champion(settings: Settings) -> tuple[VersionInfo, Bundle] | Finding:
    """The champion, or why there is none that could be looked at."""
    from alphatrade_pipelines.models.errors import BundleFormatError

    try:
        return champions.champion_bundle(settings) or NO_CHAMPION
    except BundleFormatError as error:
        return Finding(False, f"the champion cannot be used: {error}", "format")


def staleness_finding(settings: Settings) -> Finding:
    """Is the champion older than the data allow, or do its resolved live predictions speak against it?

    Age is counted in market time: from the newest outcome the champion knows to the newest bar a model may be trained on, so a
    simulation of the past is not stale merely because its data are old.
    """
    champion = _champion(settings)
    if isinstance(champion, Finding):  # after an upgrade nothing can trade until there is a new model: that is as stale as it gets
        return replace(champion, fires=champion is not NO_CHAMPION)
    version, bundle = champion
    bars = bootstrap.bar_store(settings).read()
    age, name = _age(settings, bundle, bars), f"champion {version.version}"
    if age.stale:
        detail = f"{name} knows nothing of the last {age.age.days} days (limit {age.limit.days})"
        return Finding(True, detail, f"{version.version}:age:{_week(newest_bar(settings, bars))}")
    resolved = resolved_predictions(settings, version.version, bars)
    if resolved.empty:
        return Finding(False, f"{name} is {age.age.days} days old; no live prediction of it is resolved yet", version.version)
    score = _score(settings, resolved, tracking.registry(settings).metrics(version)["base_rate"])
    limit = 1 / score.false_alarm_rate
    detail = f"{name}: evidence {score.peak:.2f} of {limit:.0f} against its probabilities in {score.resolved} resolved predictions"
    return Finding(score.stale, detail, f"{version.version}:score")


def drift_finding(settings: Settings) -> Finding:
    """Have the features of the last ``model.drift_window`` sessions moved away from training, for reasons of their own?"""
    champion = _champion(settings)
    if isinstance(champion, Finding):
        return champion
    version, bundle = champion
    bars = bootstrap.bar_store(settings).read()
    health, name = _inputs(settings, bundle, bars), f"champion {version.version}"
    own = health.own
    named = f", furthest {', '.join(own.drifted[:8])}" if own.drifted else ""
    detail = f"{name}: {len(own.drifted)} of {len(own.table)} features drifted{named}"
    alarm = input_alarm(health)
    if own.share < settings.model.drift_share:
        return Finding(False, f"{detail}; {alarm}" if alarm else detail, version.version, alarm)
    spent = nightly.trained_on_all(settings)
    if spent:
        return Finding(False, f"{detail}; but a retrain cannot help: {spent}", version.version, alarm)
    key = f"{version.version}:drift:{_week(newest_bar(settings, bars))}"
    return Finding(True, f"{detail}; {alarm}" if alarm else detail, key, alarm)


def _week(moment: datetime) -> date:
    """Monday of its week: a cause that lasts, because the gate refuses every candidate, is asked for once a week of market time."""
    return (moment - timedelta(days=moment.weekday())).date()


def newest_bar(settings: Settings, bars: pd.DataFrame) -> datetime:
    """Start of the newest bar a model may be trained on."""
    newest: datetime = bootstrap.training_bars(settings, bars).index.get_level_values("timestamp").max().to_pydatetime()
    return newest


def _age(settings: Settings, bundle: Bundle, bars: pd.DataFrame) -> AgeReport:
    from alphatrade_pipelines.models.staleness import age_staleness

    known = datetime.fromisoformat(bundle.manifest["known_through"])
    return age_staleness(known, newest_bar(settings, bars), timedelta(days=settings.model.max_age_days))


def _score(settings: Settings, resolved: pd.DataFrame, base_rate: float) -> ScoreReport:
    from alphatrade_pipelines.models.staleness import score_staleness

    return score_staleness(resolved, base_rate, settings.model.false_alarm_rate)


def _inputs(settings: Settings, bundle: Bundle, bars: pd.DataFrame) -> InputHealth:
    from alphatrade_pipelines.models.volume_feed import as_before, find_volume_feed_change

    window = settings.model.drift_window
    drift, feed = _drift(settings, bundle, bars), find_volume_feed_change(bars)
    if feed is not None and feed.since <= datetime.fromisoformat(bundle.manifest["train_end"]):
        feed = None  # the champion knows it
    own = drift if feed is None else _drift(settings, bundle, as_before(bars, feed))
    missing, before = _missing(bars, bundle, window)
    return InputHealth(drift, own, feed, missing, before)


def _drift(settings: Settings, bundle: Bundle, bars: pd.DataFrame) -> DriftReport:
    import numpy as np

    from alphatrade_pipelines.models.drift import feature_drift

    features = bundle.scored(bundle.feature_pipeline().transform(bars))[_recent(bars, settings.model.drift_window)].dropna(how="all")
    features = _bets(bundle, features)
    complete = np.isfinite(features[bundle.feature_names].to_numpy(np.float64)).all(axis=1)
    probabilities = bundle.predict(features[complete])["probability"]
    return feature_drift(bundle.json("drift_reference.json"), features, probabilities)


def _bets(bundle: Bundle, features: pd.DataFrame) -> pd.DataFrame:
    """The rows that compare with training, which knows those alone where the primary bets. Where it has bet too rarely to compare, all:
    that it no longer bets is then what has moved."""
    from alphatrade_pipelines.models.drift import MIN_ROWS

    bets = features[bundle.label.side(features, features.index).to_numpy() != 0]
    return bets if len(bets) >= MIN_ROWS else features


def _recent(bars: pd.DataFrame, sessions: int) -> npt.NDArray[np.bool_]:
    import numpy as np

    days = _days(bars)
    since = days.unique().sort_values()[-sessions:].min()
    recent: npt.NDArray[np.bool_] = np.asarray(days >= since)
    return recent


def _days(bars: pd.DataFrame) -> pd.DatetimeIndex:
    import pandas as pd

    return pd.DatetimeIndex(bars.index.get_level_values("timestamp")).floor("D")


def _missing(bars: pd.DataFrame, bundle: Bundle, sessions: int) -> tuple[float, float]:
    """Absent (symbol, time) pairs of the champion's symbols, over all times any of them has: recently, in as many sessions before."""
    symbols = [symbol for symbol in bundle.manifest["symbols"] if symbol in bars.index.get_level_values("symbol")]
    days = _days(bars)
    order = days.unique().sort_values()
    shares = []
    for part in (order[-sessions:], order[-2 * sessions : -sessions]):
        rows = bars[days.isin(part)]
        times = rows.index.get_level_values("timestamp").nunique()
        held = rows.index.get_level_values("symbol").isin(symbols).sum()
        shares.append(1.0 - held / (times * len(symbols)) if times and symbols else 0.0)
    return float(shares[0]), float(shares[1])


def input_alarm(health: InputHealth) -> str:
    """What a person must look at because no retrain can mend it; empty when there is nothing."""
    told = []
    if health.feed is not None:
        explained = len(health.drift.drifted) - len(health.own.drifted)
        told.append(f"{health.feed}; {explained} drifted features are explained by it")
    if health.missing > health.missing_before + MISSING_RISE:
        told.append(f"{health.missing:.1%} of the recent bars are missing ({health.missing_before:.1%} before): check the feed")
    return "; ".join(told)


def resolved_predictions(settings: Settings, version: str, bars: pd.DataFrame) -> pd.DataFrame:
    """Live predictions of a version, from the journals of the mode in force, with the outcomes the bars now know.

    Index (symbol, bar start), columns t1, label, probability: what ``models.staleness.score_staleness`` wants. Empty before any session.
    """
    import pandas as pd

    from alphatrade_pipelines.market import SessionCalendar, adjust_forward
    from alphatrade_pipelines.models.labels import make_labels, triple_barrier
    from alphatrade_pipelines.trading.domain import Side
    from alphatrade_pipelines.trading.events import SignalReceived

    rows = {}
    for path in past_sessions.journal_files(settings):
        for event in past_sessions.read_events(settings, path):
            if isinstance(event, SignalReceived) and event.signal.model_version == version:
                signal = event.signal
                way = 1.0 if signal.side is Side.BUY else -1.0
                rows[signal.symbol, pd.Timestamp(signal.decision_time)] = (signal.probability, signal.volatility, way)
    stamps = pd.DatetimeIndex(bars.index.get_level_values("timestamp"))
    known = SessionCalendar().known_at(stamps, bootstrap.timeframe(settings))
    asked = pd.MultiIndex.from_arrays([bars.index.get_level_values("symbol"), known])
    names = ["probability", "volatility", "side"]
    seen = pd.DataFrame([rows.get(key, (float("nan"),) * 3) for key in asked], index=bars.index, columns=names)
    if seen["probability"].isna().all():
        return pd.DataFrame({"t1": [], "label": [], "probability": []})
    adjusted, label = adjust_forward(bars), bootstrap.label_config(settings)
    if label.kind == "trend":
        outcome = make_labels(adjusted, seen["volatility"], label)
    else:  # on the side the signal took, whatever the primary rule would say of today's features
        outcome = triple_barrier(adjusted, seen["volatility"], label.barrier, side=seen["side"])
    return outcome[["t1", "label"]].join(seen["probability"])
