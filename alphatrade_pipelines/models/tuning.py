"""Nested tuning: parameters are chosen on the training rows of each outer fold alone, and every choice that looked at data is reported.

>>> space = {"depth": Whole(2, 6), "l2": Real(0.1, 30.0, log=True)}                      # doctest: +SKIP
>>> found = nested_search(rows, PurgedKFold(5, 10), space, fit_predict, on_trial=ledger)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.folds import Progress, Rows
from alphatrade_pipelines.models.metrics import log_losses
from alphatrade_pipelines.models.validation import PurgedKFold

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Params = dict[str, Any]
# (training rows, test rows, parameters) -> probability of each test row; outcomes of the test rows must not be read
FitPredict = Callable[[Rows, Rows, Params], FloatArray]
Loss = Callable[[FloatArray, FloatArray, FloatArray], float]


@dataclass(frozen=True, slots=True)
class Real:
    """A number in [low, high], evenly or, with ``log``, evenly in its logarithm."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ModelDataError("low < high, and low > 0 on a logarithmic scale", repr(self))

    def at(self, u: float) -> float:
        """The value at the share ``u`` of the way."""
        if self.log:
            return float(math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low))))
        return float(self.low + u * (self.high - self.low))


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from low to high, both included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ModelDataError("low < high", repr(self))

    def at(self, u: float) -> int:
        """The value at the share ``u`` of the way."""
        return min(self.low + int(u * (self.high - self.low + 1)), self.high)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values without order."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2:
            raise ModelDataError("at least two values to choose from", repr(self))

    def at(self, u: float) -> Any:
        """The value at the share ``u`` of the way."""
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]


Space = Mapping[str, Real | Whole | Choice]


class Search(Protocol):
    """Proposes parameters and hears how they did (lower is better)."""

    def ask(self) -> Params: ...
    def tell(self, params: Params, loss: float) -> None: ...


class SobolSearch:
    """Scrambled Sobol points (Sobol 1967; Owen 1998): covers the space evenly whatever it hears; equal seeds, equal points."""

    def __init__(self, space: Space, seed: int) -> None:
        from scipy.stats import qmc

        self._space = dict(space)
        self._points = qmc.Sobol(len(self._space), scramble=True, rng=np.random.default_rng(seed))

    def ask(self) -> Params:
        """The next point."""
        point = self._points.random(1)[0]
        return {name: dimension.at(float(u)) for (name, dimension), u in zip(self._space.items(), point, strict=True)}

    def tell(self, params: Params, loss: float) -> None:
        """Nothing is learnt."""


class OptunaSearch:
    """Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), seeded: ten random points, then what the losses make promising.

    Its study lives in memory and dies with it. Needs the package optuna.
    """

    def __init__(self, space: Space, seed: int) -> None:
        need_optuna()
        optuna = importlib.import_module("optuna")
        self._space = dict(space)
        self._distributions = {name: _distribution(optuna.distributions, dimension) for name, dimension in space.items()}
        with _without_greeting(optuna.logging):
            self._study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed), direction="minimize")
        self._trial: Any = None

    def ask(self) -> Params:
        """What the estimator thinks promising."""
        self._trial = self._study.ask(self._distributions)
        given = self._trial.params
        return {name: one.values[given[name]] if isinstance(one, Choice) else given[name] for name, one in self._space.items()}

    def tell(self, params: Params, loss: float) -> None:
        """Learn from the last asked."""
        self._study.tell(self._trial, loss)


def need_optuna() -> None:
    """Raises ModelDataError where optuna cannot be imported."""
    if importlib.util.find_spec("optuna") is None:
        raise ModelDataError("the package optuna", "none installed", "Install it (pip install 'alphatrade[tuning]'), or search by sobol.")


def search_facts(search: str) -> dict[str, str]:
    """What proposed, for a manifest. Another release of optuna may propose other points, so its version is named."""
    return {"sampler": search} | ({"optuna": version("optuna")} if search == "optuna" else {})


@contextmanager
def _without_greeting(logging: Any) -> Iterator[None]:
    """Optuna logs every new study to stderr; how much it says elsewhere in this process is not ours to set."""
    level = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _distribution(kinds: Any, dimension: Real | Whole | Choice) -> Any:
    if isinstance(dimension, Real):
        return kinds.FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    if isinstance(dimension, Whole):
        return kinds.IntDistribution(dimension.low, dimension.high)
    return kinds.CategoricalDistribution(tuple(range(len(dimension.values))))


@dataclass(frozen=True, slots=True)
class TuneConfig:
    """``trials`` in each outer fold, judged on ``inner`` purged folds of its training rows with ``embargo`` decision times,
    proposed by ``search``: never by what happens to be installed, or another machine would choose otherwise."""

    trials: int = 16
    inner: int = 3
    embargo: int = 10
    seed: int = 7
    search: Literal["sobol", "optuna"] = "sobol"

    def __post_init__(self) -> None:
        if self.trials < 1 or self.inner < 2 or self.embargo < 0 or self.search not in ("sobol", "optuna"):
            raise ModelDataError("trials >= 1, inner >= 2, embargo >= 0, search sobol or optuna", repr(self))
        if self.search == "optuna":
            need_optuna()


@dataclass(frozen=True, slots=True)
class TuningTrial:
    """One set of parameters that was tried on data: the outer fold (None outside of any), its number there, and its inner loss."""

    fold: int | None
    number: int
    params: Params
    loss: float


@dataclass(frozen=True)
class NestedResult:
    """``predictions`` on the index of the rows (NaN where no outer fold tests), ``chosen`` parameters of each outer fold, all trials."""

    predictions: pd.Series
    chosen: tuple[Params, ...]
    trials: tuple[TuningTrial, ...]


class Splitter(Protocol):
    """sklearn's splitter API."""

    def split(self, X: pd.DataFrame, y: object = None, groups: pd.Series | None = None) -> Iterator[tuple[IntArray, IntArray]]: ...


def weighted_log_loss(y: FloatArray, p: FloatArray, weight: FloatArray) -> float:
    """Mean log loss in nats."""
    return float(np.average(log_losses(y, p), weights=weight))


def tune(
    rows: Rows,
    space: Space,
    fit_predict: FitPredict,
    config: TuneConfig | None = None,
    *,
    on_trial: Callable[[TuningTrial], None] | None = None,
    loss: Loss = weighted_log_loss,
    fold: int | None = None,
) -> tuple[Params, tuple[TuningTrial, ...]]:
    """The parameters with the least loss over purged inner folds of ``rows``, and every trial in order.

    Each inner fold weighs its own training rows. ``on_trial`` is called after each trial, before the next is chosen: it is where a trial
    ledger counts. Raises ModelDataError naming the trial when it cannot be fitted or its loss is not finite.
    """
    config = config or TuneConfig()
    splits = list(PurgedKFold(config.inner, config.embargo, rows.t1).split(rows.X))
    if any(len(train) == 0 for train, _ in splits):
        raise ModelDataError("training rows in every inner fold", f"none left by purging {len(rows.y)} rows", "Use fewer folds.")
    folds = [(rows.take(train).reweighted(), rows.take(test), test) for train, test in splits]
    return minimise(space, lambda params: _inner_loss(rows, folds, fit_predict, params, loss), config, on_trial=on_trial, fold=fold)


def minimise(
    space: Space,
    objective: Callable[[Params], float],
    config: TuneConfig,
    *,
    on_ask: Callable[[Params], None] | None = None,
    on_trial: Callable[[TuningTrial], None] | None = None,
    fold: int | None = None,
) -> tuple[Params, tuple[TuningTrial, ...]]:
    """The parameters with the least ``objective`` among ``config.trials`` of ``space``, and every trial in order.

    ``on_ask`` hears of a trial before it touches any data, so that one which is killed has been heard of; ``on_trial`` when it is done.
    Raises ModelDataError naming the trial when it cannot be fitted or its loss is not finite.
    """
    if not space:
        raise ModelDataError("something to tune", "an empty space")
    search, tried = _search(space, config, fold), list[TuningTrial]()
    for number in range(config.trials):
        params = search.ask()
        if on_ask:
            on_ask(params)
        value = _finite(objective, params, number)
        search.tell(params, value)
        tried.append(TuningTrial(fold, number, params, value))
        if on_trial:
            on_trial(tried[-1])
    return min(tried, key=lambda trial: trial.loss).params, tuple(tried)


def nested_search(
    rows: Rows,
    splitter: Splitter,
    space: Space,
    fit_predict: FitPredict,
    config: TuneConfig | None = None,
    *,
    on_trial: Callable[[TuningTrial], None] | None = None,
    loss: Loss = weighted_log_loss,
    progress: Progress | None = None,
) -> NestedResult:
    """Tune within the training rows of each outer fold, fit the best on all of them, predict the fold: the fold decides nothing.

    ``splitter`` tests each row at most once (:class:`PurgedKFold`, :class:`WalkForward`); for backtest paths give
    :func:`~alphatrade_pipelines.models.folds.path_predictions` a function that calls :func:`tune`.
    Raises ModelDataError naming the outer fold.
    """
    predictions = np.full(len(rows.y), np.nan)
    chosen: list[Params] = []
    trials: list[TuningTrial] = []
    splits = list(splitter.split(rows.X, groups=rows.t1))
    for k, (train, test) in enumerate(splits):
        if progress:
            progress("fold", k, len(splits))
        if np.isfinite(predictions[test]).any():
            raise ModelDataError("a splitter that tests each row at most once", f"rows tested again by split {k + 1}")
        own = rows.take(train).reweighted()
        try:
            best, tried = tune(own, space, fit_predict, config, on_trial=on_trial, loss=loss, fold=k)
        except ModelDataError as error:
            raise ModelDataError(error.expected, f"in fold {k + 1} of {len(splits)}: {error.found}", error.fix) from error
        predictions[test] = fit_predict(own, rows.take(test), best)
        chosen.append(best)
        trials += tried
    if progress:
        progress("fold", len(splits), len(splits))
    return NestedResult(pd.Series(predictions, index=rows.X.index, name="probability"), tuple(chosen), tuple(trials))


def _search(space: Space, config: TuneConfig, fold: int | None) -> Search:
    seed = config.seed + (0 if fold is None else fold)
    return OptunaSearch(space, seed) if config.search == "optuna" else SobolSearch(space, seed)


def _inner_loss(rows: Rows, folds: list[tuple[Rows, Rows, IntArray]], fit_predict: FitPredict, params: Params, loss: Loss) -> float:
    predicted = np.full(len(rows.y), np.nan)
    for train, test, positions in folds:
        predicted[positions] = fit_predict(train, test, params)
    _, y, weight = rows.arrays
    return loss(y, predicted, weight)


def _finite(objective: Callable[[Params], float], params: Params, number: int) -> float:
    try:
        value = objective(params)
    except ModelDataError as error:
        raise ModelDataError(error.expected, f"in trial {number + 1} with {params}: {error.found}", error.fix) from error
    if not math.isfinite(value):
        raise ModelDataError("a finite loss", f"{value} in trial {number + 1} with {params}")
    return value
