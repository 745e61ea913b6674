"""A primary model: what it may know and when, the bundle that carries it, the bets it proposes, what it finds where there is an edge."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mlflow
from alphatrade_pipelines import monitoring
from alphatrade_pipelines.features import FeaturePipeline
from alphatrade_pipelines.leaks import Report, World, probe_causal
from alphatrade_pipelines.market import SampleSource, SessionCalendar, Timeframe, adjust_forward
from alphatrade_pipelines.models import (
    BarrierConfig,
    Bundle,
    FoldConfig,
    LabelConfig,
    LearnerConfig,
    Lineage,
    ModelDataError,
    ModelRegistry,
    PrimaryConfig,
    PrimaryModel,
    Provenance,
    TamperedBundleError,
    TrainConfig,
    TrainingResult,
    fit_primary,
    make_labels,
    make_signals,
    train,
)
from alphatrade_pipelines.models._mlflow import store
from alphatrade_pipelines.models.bundle import FILES, MANIFEST, PRIMARY
from alphatrade_pipelines.models.explaining import explain_row, explain_signal
from alphatrade_pipelines.models.fold_features import carrying, point_in_time_columns
from alphatrade_pipelines.models.labels import PRIMARY_SCORE, direction, score_side
from alphatrade_pipelines.models.learner import fit_trees, scores
from alphatrade_pipelines.models.metrics import auc
from alphatrade_pipelines.models.primary import PrimaryFit
from alphatrade_pipelines.models.trees import Trees
from alphatrade_pipelines.models.weights import clustered_error, evidence_weights, time_blocks
from alphatrade_pipelines.trading.domain import Side
from tests.models.makers import MadeUpState, random_bars
from tests.models.truth import CAUSAL, features_of, market

BARRIER = BarrierConfig(2.0, 2.0, 5, 2.0)
FITTED = PrimaryConfig(LearnerConfig(iterations=20, threads=1), refit_sessions=60, min_rows=300, embargo=5)
LABEL = LabelConfig("meta", BARRIER, allow_short=True, primary="model", primary_threshold=0.01)
CONFIG = TrainConfig(BARRIER, LearnerConfig(iterations=40, threads=1), FoldConfig(4, 3, 5), label=LABEL, primary=FITTED)
STATE = MadeUpState(CAUSAL)
PROVENANCE = Provenance("d" * 64, "made up", "1Day", True, "c0ffee")
CALENDAR = SessionCalendar()
KNOWN = 480  # sessions of the market that training sees

Home = tuple[TrainingResult, PrimaryModel, pd.DataFrame, pd.DataFrame, pd.DataFrame]


def primary_of(bars: pd.DataFrame, features: pd.DataFrame, config: PrimaryConfig = FITTED) -> PrimaryModel:
    return fit_primary(features, adjust_forward(bars), CAUSAL, BARRIER, config)


def until(frame: pd.DataFrame, sessions: int) -> pd.DataFrame:
    stamps = frame.index.get_level_values("timestamp")
    return frame[stamps < stamps.unique().sort_values()[sessions]]


def train_on(bars: pd.DataFrame, features: pd.DataFrame, config: TrainConfig = CONFIG) -> tuple[TrainingResult, PrimaryModel, pd.DataFrame]:
    assert config.label is not None
    primary = primary_of(bars, features, config.primary or FITTED)
    adjusted = adjust_forward(bars)
    labels = make_labels(adjusted, features["vol_ewma"], config.label, primary.scored(features))
    result = train(features, labels, STATE, config, bars=adjusted, provenance=PROVENANCE, primary=primary)
    return result, primary, labels


@pytest.fixture(scope="module")
def home() -> Home:
    """A market with an edge, trained on its first 480 sessions of 600: result, primary, labels; all bars and features."""
    bars = market(3, 0.3)
    features = features_of(bars)
    result, primary, labels = train_on(until(bars, KNOWN), until(features, KNOWN))
    return result, primary, labels, bars, features


# ---- what it learns, and from what ----


def test_direction_is_the_way_from_the_next_open_to_the_open_that_ends_the_horizon() -> None:
    bars = random_bars(["A", "B"], 40)
    found = direction(bars, BarrierConfig(horizon=4))
    for symbol in ("A", "B"):
        opens, stamps = bars.loc[symbol, "open"].to_numpy(), bars.loc[symbol].index
        for i in range(40):
            if i + 5 >= 40:
                assert (symbol, stamps[i]) not in found.index
                continue
            row = found.loc[(symbol, stamps[i])]
            assert row["ret"] == opens[i + 5] / opens[i + 1] - 1
            assert row["label"] == int(opens[i + 5] > opens[i + 1])
            assert row["t1"] == stamps[i + 5]
    level = direction(bars.assign(open=10.0), BarrierConfig(horizon=4))
    assert (level["label"] == 0).all()
    with pytest.raises(ModelDataError, match="at least one symbol with 12 bars"):
        direction(bars.groupby(level="symbol").head(11))


def test_each_fit_knows_exactly_what_was_known(home: Home) -> None:
    """Every model of the schedule, made again by hand from rows chosen one by one."""
    _, primary, _, bars, features = home
    bars, features = until(bars, KNOWN), until(features, KNOWN)
    outcomes = direction(adjust_forward(bars), BARRIER)
    stamps = features.index.get_level_values("timestamp").unique().sort_values()
    complete = features[list(CAUSAL)].notna().all(axis=1)
    after = [int(np.searchsorted(stamps.asi8, fit.after)) for fit in primary.fits]
    assert {late - early for early, late in pairwise(after)} == {FITTED.refit_sessions}
    assert len(stamps) - after[-1] <= FITTED.refit_sessions, "none is missing at the end"
    for number, fit in zip(after, primary.fits, strict=True):
        limit = stamps[number - FITTED.embargo]
        known = [key for key, t1 in outcomes["t1"].items() if t1 < limit and complete[key]]
        assert fit.rows == len(known) >= FITTED.min_rows
        assert fit.columns == CAUSAL
        own = outcomes.loc[known]
        weights = evidence_weights(own["label"], own["t1"]).to_numpy()
        X = features.loc[known, list(CAUSAL)].to_numpy()
        model = fit_trees(X, own["label"].to_numpy(np.float64), weights, 20, FITTED.learner)
        force = features[complete & (features.index.get_level_values("timestamp") > stamps[number])].groupby(level="symbol").head(60)
        np.testing.assert_array_equal(scores(model, force[list(CAUSAL)].to_numpy()), primary.score(features)[force.index].to_numpy())
    before = stamps[after[0] - 1 - FITTED.embargo]
    earlier = sum(t1 < before and complete[key] for key, t1 in outcomes["t1"].items())
    assert earlier < FITTED.min_rows, "the first came no later than it could"
    first = primary.score(features).dropna().index.get_level_values("timestamp").min()
    assert first == stamps[after[0] + 1], "no bet before the first fit, nor at the bar it was fitted after"


def test_the_score_of_a_longer_history_is_the_same(home: Home) -> None:
    _, primary, _, bars, features = home
    longer = primary_of(bars, features)
    assert longer.fits[: len(primary.fits)] != ()
    assert [fit.trees.to_dict() for fit in longer.fits[: len(primary.fits)]] == [fit.trees.to_dict() for fit in primary.fits]
    assert len(longer.fits) > len(primary.fits)
    known = until(features, KNOWN)
    pd.testing.assert_series_equal(longer.score(known), primary.score(known))


# ---- point-in-time, under the house's own probes ----


def probe(compute: Callable[[World], pd.Series]) -> Report:
    return probe_causal(compute, World(market(5, 0.2, 400)), cuts=2)


def test_nothing_after_a_row_moves_its_score() -> None:
    report = probe(lambda world: primary_of(world.bars, features_of(world.bars)).score(features_of(world.bars)))
    assert report.alarms == ()
    assert report.values_checked > 10_000


def one_model(features: pd.DataFrame, outcomes: pd.DataFrame, after: int) -> PrimaryFit:
    own = features.loc[outcomes.index, list(CAUSAL)].dropna()
    y = outcomes.loc[own.index, "label"].to_numpy(np.float64)
    trees = Trees.of(fit_trees(own.to_numpy(), y, np.ones(len(y)), 20, FITTED.learner))
    return PrimaryFit(after, after, len(y), CAUSAL, trees)


def of_the_whole_sample(world: World) -> pd.Series:
    """Planted: one model, fitted on everything, scores everything."""
    features = features_of(world.bars)
    return PrimaryModel((one_model(features, direction(adjust_forward(world.bars), BARRIER), 0),)).score(features)


def by_decision_time(world: World) -> pd.Series:
    """Planted: a schedule that asks when a row was decided, not when its outcome was known."""
    features, outcomes = features_of(world.bars), direction(adjust_forward(world.bars), BARRIER)
    stamps = pd.DatetimeIndex(features.index.get_level_values("timestamp").unique().sort_values()).as_unit("ns").asi8
    decided = pd.DatetimeIndex(outcomes.index.get_level_values("timestamp")).as_unit("ns").asi8
    moments = stamps[100::20].tolist()
    fits = [one_model(features, outcomes[decided <= at], at) for at in moments]
    return PrimaryModel(tuple(fits)).score(features)


def with_later_levels(world: World) -> pd.Series:
    """Planted: features standardised over the whole sample before a schedule that is right."""
    features = features_of(world.bars)
    spread = features.assign(news=features["news"] > features["news"].mean()).astype("float64")
    return primary_of(world.bars, spread).score(spread)


@pytest.mark.parametrize("leaky", [of_the_whole_sample, by_decision_time, with_later_levels])
def test_a_primary_that_knows_later_outcomes_is_caught(leaky: Callable[[World], pd.Series]) -> None:
    assert probe(leaky).alarms


def test_from_the_default_pipeline_only_what_no_refit_moves_is_read() -> None:
    """Fitted on bars up to t, pipeline and primary give the scores up to t that they give when fitted on all bars. With features that hold
    statistics of the whole span they do not, which is why those are left out."""
    bars = SampleSource().fetch()
    stamps = bars.index.get_level_values("timestamp")
    bars = bars[stamps >= stamps.unique().sort_values()[-760]]
    bars = bars[bars.index.get_level_values("symbol").isin(["AAPL", "IBM", "MSFT"])]
    short = until(bars, 700)
    pipeline = FeaturePipeline.default(Timeframe.parse("1Day"))
    full, past = pipeline.fit(bars).transform(bars), pipeline.fit(short).transform(short)
    columns = point_in_time_columns(pipeline)
    frozen = [column for name, one in pipeline.features.items() if one.frozen for column in one.columns(name)]
    assert frozen
    assert not set(frozen) & set(columns)
    assert "momentum_21" in columns
    config = replace(FITTED, min_rows=200, refit_sessions=40)

    def score(features: pd.DataFrame, own: pd.DataFrame, names: list[str]) -> pd.Series:
        return fit_primary(features, adjust_forward(own), names, BARRIER, config).score(features).loc[short.index]

    whole = score(full, bars, columns)
    assert whole.notna().sum() > 200
    pd.testing.assert_series_equal(score(past, short, columns), whole)
    everything = [*columns, *frozen]
    assert not score(past, short, everything).equals(score(full, bars, everything))


# ---- the bundle ----


def test_training_twice_gives_the_same_bytes_and_the_bundle_carries_the_schedule(home: Home, tmp_path: Path) -> None:
    result, primary, _, bars, features = home
    again, _, _ = train_on(until(bars, KNOWN), until(features, KNOWN))
    assert again.bundle.content_hash == result.bundle.content_hash
    assert again.bundle.files == result.bundle.files
    folder = result.bundle.save(tmp_path / "bundle")
    assert {path.name for path in folder.iterdir()} == {*FILES, PRIMARY, MANIFEST}
    loaded = Bundle.load(folder)
    assert loaded.primary is not None
    assert loaded.primary.to_dict() == primary.to_dict()
    pd.testing.assert_series_equal(loaded.primary.score(features), primary.score(features))
    pd.testing.assert_frame_equal(loaded.predict(scored_rows(loaded, features)), result.bundle.predict(scored_rows(loaded, features)))
    assert loaded.label == LABEL
    facts = loaded.manifest["primary"]
    assert (facts["fits"], facts["columns"]) == (len(primary.fits), list(CAUSAL))
    assert loaded.feature_names == [*CAUSAL, PRIMARY_SCORE]
    assert loaded.manifest["config"]["primary"] == asdict(FITTED) | {"learner": asdict(FITTED.learner) | {"monotone": []}}
    json.loads((folder / PRIMARY).read_text())


def scored_rows(bundle: Bundle, features: pd.DataFrame) -> pd.DataFrame:
    scored = bundle.scored(features)
    return scored[scored.notna().all(axis=1)]


def test_a_flipped_bit_a_missing_and_a_smuggled_primary_are_refused(home: Home, trained: Any, tmp_path: Path) -> None:
    folder = home[0].bundle.save(tmp_path / "bundle")
    blob = (folder / PRIMARY).read_bytes()
    for at in (0, len(blob) // 2, len(blob) - 1):
        (folder / PRIMARY).write_bytes(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])
        with pytest.raises(TamperedBundleError, match=PRIMARY):
            Bundle.load(folder)
    (folder / PRIMARY).unlink()
    with pytest.raises(TamperedBundleError, match="is missing"):
        Bundle.load(folder)
    plain = trained[0].bundle.save(tmp_path / "plain")
    assert Bundle.load(plain).primary is None
    assert "primary" not in Bundle.load(plain).manifest["config"], "a bundle without one is what it was before there were any"
    (plain / PRIMARY).write_bytes(blob)
    with pytest.raises(TamperedBundleError, match="does not belong"):
        Bundle.load(plain)


def test_a_row_alone_is_scored_and_predicted_as_in_the_batch_to_the_bit(home: Home) -> None:
    bundle, features = home[0].bundle, home[4]
    primary = bundle.primary
    assert primary is not None
    rows = scored_rows(bundle, features)
    late = rows[rows.index.get_level_values("timestamp").as_unit("ns").asi8 > primary.fits[-1].after]
    batch, scored = bundle.predict(rows), primary.score(features)
    assert len(late) > 400
    for k in (*range(0, len(rows), 97), *range(len(rows) - 20, len(rows))):
        one = features.loc[[rows.index[k]]]
        pd.testing.assert_frame_equal(bundle.predict(one), batch.iloc[[k]])
        found = bundle.predict_row(rows[bundle.feature_names].to_numpy()[k])
        assert tuple(found) == tuple(batch.iloc[k])
    for key in late.index[::41]:
        assert primary.one(features.loc[key, list(primary.columns)].to_numpy(np.float64)) == scored[key]
    undated = bundle.predict(late.drop(columns=PRIMARY_SCORE).reset_index(drop=True))
    np.testing.assert_array_equal(undated.to_numpy(), batch.loc[late.index].to_numpy(), "without a time stamp a row is of now")
    lied = bundle.predict(rows.assign(primary_score=0.9))
    pd.testing.assert_frame_equal(lied, batch)
    assert np.isnan(primary.one(np.full(3, np.nan)))


def test_reasons_add_up_with_the_score_among_them(home: Home) -> None:
    bundle = home[0].bundle
    row = scored_rows(bundle, home[4])[bundle.feature_names].iloc[-1]
    found = explain_row(bundle, row.to_numpy(np.float64))
    assert PRIMARY_SCORE in {one.feature for one in found.contributions}
    assert found.expected + sum(one.log_odds for one in found.contributions) == pytest.approx(found.margin, abs=1e-9)
    assert explain_signal(bundle, tuple(row.items())) == found  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*integer column")
def test_mlflow_serves_it_from_the_features_of_the_pipeline_alone(home: Home, registry: ModelRegistry, tmp_path: Path) -> None:
    result, _, _, _, features = home
    version = registry.log_candidate(result, until(features, KNOWN), Lineage("dagster-run-1"))
    with store(registry.config.tracking_uri) as bound:
        uri = f"models:/{version.name}/{version.version}"
        model = mlflow.pyfunc.load_model(str(bound.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(tmp_path))))
    assert set(model.metadata.get_input_schema().input_names()) == set(CAUSAL)
    given = features.iloc[-30:]
    np.testing.assert_array_equal(model.predict(given[list(CAUSAL)]).to_numpy(), result.bundle.predict(given).to_numpy())


# ---- bets ----


def test_signals_take_the_sides_the_labels_were_made_with(home: Home) -> None:
    result, primary, labels, bars, features = home
    past = until(features, KNOWN)
    assert set(labels["side"]) == {1, -1}
    assert (labels["side"] == score_side(primary.score(past), 0.01)[labels.index]).all()
    for predicted in (None, result.oof):
        signals = make_signals(result.bundle, past, bars, CALENDAR, "7", predicted)
        known = CALENDAR.known_at(pd.DatetimeIndex(labels.index.get_level_values("timestamp")), Timeframe.parse("1Day"))
        sides = {(symbol, at): side for (symbol, _), at, side in zip(labels.index, known, labels["side"], strict=True)}
        said = {(s.symbol, pd.Timestamp(s.decision_time)): 1 if s.side is Side.BUY else -1 for s in signals}
        assert {key: sides[key] for key in said if key in sides} == {key: side for key, side in said.items() if key in sides}
        assert len(set(said) & set(sides)) > 0.95 * len(sides)
    first = pd.Timestamp(primary.fits[0].after, unit="ns", tz="UTC")
    assert min(pd.Timestamp(s.decision_time) for s in signals) > first + pd.Timedelta(days=1), "no bet before the first fit"


def test_unseen_sessions_are_those_of_the_newest_model_and_one_bar_equals_all(home: Home) -> None:
    result, primary, _, bars, features = home
    unseen = features.loc[features.index.difference(until(features, KNOWN).index)]
    batch = make_signals(result.bundle, unseen, bars, CALENDAR, "1")
    single = []
    for time in unseen.index.unique("timestamp").sort_values():
        rows = unseen[unseen.index.get_level_values("timestamp") == time]
        single += make_signals(result.bundle, rows, bars.loc[rows.index], CALENDAR, "1")
    assert single == batch
    assert batch
    newest = PrimaryModel(primary.fits[-1:])
    wanted = score_side(newest.score(unseen), 0.01)
    assert sum(s.side is Side.BUY for s in batch) == (wanted == 1).sum()
    assert sum(s.side is Side.SELL for s in batch) == (wanted == -1).sum()
    for signal in batch[:50]:
        carried = dict(signal.features)
        again = newest.one(np.array([carried[name] for name in newest.columns]))
        assert carried[PRIMARY_SCORE] == again


def test_long_only_leaves_the_short_side_out(home: Home) -> None:
    _, primary, _, bars, features = home
    scored = primary.scored(until(features, KNOWN))
    only = make_labels(adjust_forward(until(bars, KNOWN)), scored["vol_ewma"], replace(LABEL, allow_short=False), scored)
    assert set(only["side"]) == {1}
    assert (scored.loc[only.index, PRIMARY_SCORE] > 0.51).all()


def test_drift_compares_bets_with_bets(home: Home) -> None:
    bundle, features = home[0].bundle, home[4]
    scored = bundle.scored(features)
    bets = monitoring._bets(bundle, scored.iloc[-200:])
    assert 20 <= len(bets) < 200
    assert (abs(bets[PRIMARY_SCORE] - 0.5) > 0.01).all()
    silent = scored.iloc[-200:].assign(primary_score=0.5)
    assert len(monitoring._bets(bundle, silent)) == 200, "a primary that no longer bets is looked at on all rows"


def test_folds_refit_everything_but_the_score(home: Home) -> None:
    _, primary, _, _, features = home
    score = primary.score(features)

    def refitted(times: pd.DatetimeIndex) -> pd.DataFrame:
        return features * float(len(times))

    times = pd.DatetimeIndex(features.index.get_level_values("timestamp").unique()[:10])
    found = carrying(refitted, score)(times)
    pd.testing.assert_series_equal(found[PRIMARY_SCORE], score)
    pd.testing.assert_frame_equal(found[list(features)], features * 10.0)


# ---- planted truth ----


def skill(bars: pd.DataFrame, features: pd.DataFrame) -> tuple[float, float, float]:
    """Of an out-of-time score: AUC of direction, mean return on its side, and the clustered standard error of that."""
    found = direction(adjust_forward(bars), BARRIER).join(primary_of(bars, features).score(features), how="inner").dropna()
    earned = found["ret"].to_numpy() * np.sign(found[PRIMARY_SCORE].to_numpy() - 0.5)
    area = auc(found["label"].to_numpy(np.float64), found[PRIMARY_SCORE].to_numpy())
    return area, float(earned.mean()), clustered_error(earned, time_blocks(found))


def test_a_planted_direction_is_found_and_the_meta_model_is_calibrated() -> None:
    for seed in (11, 12):
        bars = market(seed, 0.3)
        features = features_of(bars)
        area, earned, error = skill(bars, features)
        assert area > 0.62
        assert earned > 4 * error
        result, _, _ = train_on(bars, features)
        metrics = result.metrics
        assert metrics["ece"] <= max(0.02, metrics["ece_noise_95"])
        assert metrics["base_rate"] > 0.53, "bets on the primary's side win more often than not"
        assert metrics["reproducible"] == 1.0


def test_on_noise_it_gains_nothing() -> None:
    found = []
    for seed in range(20, 28):
        bars = market(seed, 0.0)
        _, earned, error = skill(bars, features_of(bars))
        found.append(earned / error)
    assert abs(float(np.mean(found))) < 3 / np.sqrt(len(found)), found
    result, _, _ = train_on(market(20, 0.0), features_of(market(20, 0.0)))
    assert result.metrics["log_loss_gain"] < 3 * result.metrics["log_loss_gain_error"] + 1e-3


# ---- what cannot be done ----


def test_too_little_history_and_one_direction_only_are_named(home: Home) -> None:
    bars, features = home[3], home[4]
    with pytest.raises(ModelDataError, match=r"at least 300 rows with every feature and a known direction .* found \d+ .*lower primary"):
        primary_of(until(bars, 60), until(features, 60))
    with pytest.raises(ModelDataError, match=r"found 0 \(feature with most gaps: news\)"):
        fit_primary(features.assign(news=np.nan), adjust_forward(bars), ["news"], BARRIER, FITTED)
    rising = bars.assign(**{name: 50.0 * 1.001 ** bars.groupby(level="symbol").cumcount() for name in ("open", "high", "low", "close")})
    with pytest.raises(ModelDataError, match=r"rising and falling prices for the primary model, found .* all rising"):
        primary_of(rising, features)
    with pytest.raises(ModelDataError, match="no sentiment"):
        fit_primary(features, adjust_forward(bars), ["news", "sentiment"], BARRIER, FITTED)
    with pytest.raises(ModelDataError, match="features for the primary model, found none"):
        fit_primary(features, adjust_forward(bars), [], BARRIER, FITTED)
    with pytest.raises(ModelDataError, match="features for every bar"):
        primary_of(bars, features.iloc[:-100])
    for wrong in ({"refit_sessions": 0}, {"min_rows": 1}, {"embargo": -1}):
        with pytest.raises(ModelDataError, match="refit_sessions >= 1"):
            PrimaryConfig(**wrong)


def test_a_feature_that_begins_late_waits_for_its_own_history(home: Home) -> None:
    bars, features = home[3], home[4]
    stamps = features.index.get_level_values("timestamp")
    late = features.assign(range=features["range"].where(stamps >= stamps.unique().sort_values()[300]))
    found = primary_of(bars, late)
    assert found.fits[0].columns == ("news", "momentum")
    assert found.fits[-1].columns == CAUSAL
    with_it = [fit for fit in found.fits if fit.columns == CAUSAL]
    assert min(fit.rows for fit in with_it) >= FITTED.min_rows
    assert found.score(late).notna().sum() > 1000


@pytest.mark.parametrize("kind", ["bracket", "trend"])
def test_only_meta_labels_have_a_use_for_it(kind: Any) -> None:
    with pytest.raises(ModelDataError, match=f"the label kind meta with a primary model, found '{kind}'"):
        LabelConfig(kind, primary="model")


def test_what_does_not_fit_together_is_refused(home: Home) -> None:
    result, primary, labels, bars, features = home
    with pytest.raises(ModelDataError, match=r"below 0\.5"):
        LabelConfig("meta", primary="model", primary_threshold=0.5)
    with pytest.raises(ModelDataError, match="Score the features with the primary model"):
        make_labels(adjust_forward(bars), features["vol_ewma"], LABEL, features)
    with pytest.raises(ModelDataError, match="exactly where the label's primary is a model"):
        TrainConfig(BARRIER, label=LABEL)
    with pytest.raises(ModelDataError, match="exactly where the label's primary is a model"):
        TrainConfig(BARRIER, primary=FITTED)
    past, known = until(features, KNOWN), adjust_forward(until(bars, KNOWN))

    def again(config: TrainConfig = CONFIG, own: pd.DataFrame = labels, model: PrimaryModel | None = primary) -> None:
        train(past, own, STATE, config, bars=known, provenance=PROVENANCE, primary=model)

    with pytest.raises(ModelDataError, match="found no primary model"):
        again(model=None)
    with pytest.raises(ModelDataError, match="a label that asks for none"):
        again(TrainConfig(BARRIER))
    with pytest.raises(ModelDataError, match=r"another side in 1 of"):
        again(own=labels.assign(side=labels["side"].where(np.arange(len(labels)) != 5, -labels["side"])))
    with pytest.raises(ModelDataError, match="no side"):
        again(own=labels.drop(columns="side"))
    with pytest.raises(ModelDataError, match="each later than the one before"):
        PrimaryModel(primary.fits[::-1])
    with pytest.raises(ModelDataError, match="each later than the one before"):
        PrimaryModel(())
    with pytest.raises(ModelDataError, match="no news"):
        result.bundle.predict(features.drop(columns="news"))
    with pytest.raises(ModelDataError, match="nan in primary_score"):
        result.bundle.predict(features.iloc[20:30])
    with pytest.raises(ModelDataError, match="3 features of the primary model in one row"):
        primary.one(np.zeros(2))
