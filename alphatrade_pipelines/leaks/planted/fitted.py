"""Statistics frozen in fit() that read more than the training rows. Signature: (world, training times) -> transform."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from alphatrade_pipelines.leaks.isolation import Fit
from alphatrade_pipelines.leaks.planted.base import Plant, each, long, returns, wide
from alphatrade_pipelines.leaks.world import Compute, World

Select = Callable[[World, pd.DatetimeIndex], World]


def given_rows(world: World, times: pd.DatetimeIndex) -> World:
    return World(world.bars[world.stamps.isin(times)])


def all_rows(world: World, times: pd.DatetimeIndex) -> World:
    return world


def first_to_last(world: World, times: pd.DatetimeIndex) -> World:
    """From the first training time to the last: the test block in the middle is inside."""
    return World(world.bars[(world.stamps >= times.min()) & (world.stamps <= times.max())])


def whole_months(world: World, times: pd.DatetimeIndex) -> World:
    """Training rounded to whole months, which reach into the test block."""
    wanted = times.tz_convert("America/New_York").strftime("%Y-%m").unique()
    return World(world.bars[world.stamps.tz_convert("America/New_York").strftime("%Y-%m").isin(wanted)])


def scaler(train: World) -> Compute:
    values = each(returns)(train)
    mean, deviation = float(values.mean()), float(values.std())
    return each(lambda rows: (returns(rows) - mean) / deviation)


def percentiles(train: World) -> Compute:
    values = each(returns)(train)
    grid = np.nanquantile(values.to_numpy(), np.linspace(0.0, 1.0, 101))
    return each(lambda rows: pd.Series(np.searchsorted(grid, returns(rows).to_numpy()) / 101.0, index=rows.index))


def clip_limits(train: World) -> Compute:
    low, high = (float(each(returns)(train).quantile(share)) for share in (0.02, 0.98))
    return each(lambda rows: returns(rows).clip(low, high))


def typical_volume(train: World) -> Compute:
    """Each symbol against its own typical volume."""
    median = train.bars["volume"].groupby(level="symbol").median()
    return each(lambda rows: rows["volume"] / float(median.get(rows.index[0][0], np.nan)))


def factor(train: World) -> Compute:
    table = wide(train).fillna(0.0)
    _, vectors = np.linalg.eigh(table.T.to_numpy() @ table.to_numpy())
    loadings = dict(zip(table, vectors[:, -1].tolist(), strict=True))

    def compute(world: World) -> pd.Series:
        every = wide(world).fillna(0.0)
        scores = sum(every[name] * loadings.get(name, 0.0) for name in every)
        assert isinstance(scores, pd.Series)
        return long(pd.DataFrame(dict.fromkeys(every, scores)), world)

    return compute


def order_of_fracdiff(train: World) -> Compute:
    from alphatrade_pipelines.features.catalogue.fracdiff import FractionalDifference, fracdiff

    feature = FractionalDifference(threshold=0.02)
    orders = [feature.choose(np.log(rows["close"].to_numpy())) for _, rows in train.bars.groupby(level="symbol")]
    d = float(np.mean(orders))
    return each(lambda rows: pd.Series(fracdiff(np.log(rows["close"].to_numpy()), d, 0.02), index=rows.index))


def volatility_bands(train: World) -> Compute:
    """Low, normal, high, extreme by quantiles of volatility."""
    bands = each(lambda rows: returns(rows).rolling(20).std())(train).quantile([0.5, 0.8, 0.95]).to_numpy()
    return each(
        lambda rows: pd.Series(np.searchsorted(bands, returns(rows).rolling(20).std().to_numpy()), index=rows.index).astype("float64")
    )


def fill_value(train: World) -> Compute:
    median = float(each(lambda rows: returns(rows).rolling(20).std())(train).median())
    return each(lambda rows: returns(rows).rolling(20).std().fillna(median))


def seasonal_profile(train: World) -> Compute:
    slot = train.stamps.tz_convert("America/New_York").strftime("%a %H:%M")
    mean = train.bars["volume"].groupby(np.asarray(slot)).mean()

    def formula(rows: pd.DataFrame) -> pd.Series:
        own = pd.DatetimeIndex(rows.index.get_level_values("timestamp")).tz_convert("America/New_York").strftime("%a %H:%M")
        share: pd.Series = rows["volume"] / mean.reindex(own).to_numpy()
        return share

    return each(formula)


def _plant(name: str, learn: Callable[[World], Compute], select: Select) -> Plant:
    leak: Fit = lambda world, times: learn(select(world, times))  # noqa: E731
    clean: Fit = lambda world, times: learn(given_rows(world, times))  # noqa: E731
    return Plant(name, "fitted", leak, clean)


PLANTS = (
    _plant("scaler_fitted_on_all_rows", scaler, all_rows),
    _plant("percentiles_of_all_rows", percentiles, all_rows),
    _plant("clip_limits_of_all_rows", clip_limits, all_rows),
    _plant("typical_volume_of_all_rows", typical_volume, all_rows),
    _plant("pca_fitted_on_all_rows", factor, all_rows),
    _plant("d_chosen_on_all_rows", order_of_fracdiff, all_rows),
    _plant("volatility_bands_of_all_rows", volatility_bands, all_rows),
    _plant("fill_value_of_all_rows", fill_value, all_rows),
    _plant("seasonal_profile_of_all_rows", seasonal_profile, all_rows),
    _plant("fitted_from_first_to_last_training_row", scaler, first_to_last),
    _plant("training_rounded_to_whole_months", scaler, whole_months),
)
