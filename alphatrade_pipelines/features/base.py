"""What a feature is: a frozen set of parameters, a declared warm-up and memory, and pure functions of past bars.

A family is one file with one or more classes, registered by ``@register("kind")``. Five shapes exist, after what they may look at:

- :class:`SymbolFeature`: the symbol's own bars (and the market return at its time stamps);
- :class:`ColumnFeature`: an earlier column, row by row, against statistics frozen at fit;
- :class:`CrossSectionFeature`: an earlier column over the symbols present at one time stamp;
- :class:`MarketFeature`: the market return series, one value a time stamp for all symbols;
- :class:`ClockFeature`: the time stamp only.

NaN policy: NaN during the warm-up, where a window holds an undefined value, and where the quantity is undefined (zero range, zero
volume, nothing to rank against). Never infinity, never a silent zero, nothing filled forward or backward.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.features.errors import FeatureConfigError, nearest

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_Result = TypeVar("_Result")
State = Any  # JSON: None, number, string, list or dict

NO_FIT: State = None


class _Bars(NamedTuple):
    log_open: FloatArray
    log_high: FloatArray
    log_low: FloatArray
    log_close: FloatArray
    close: FloatArray
    volume: FloatArray
    ret: FloatArray
    market: FloatArray
    day: FloatArray
    minute: FloatArray


class Series(_Bars):
    """One symbol's bars after forward adjustment, oldest first, arrays of one length.

    ``ret``: log return of the closes, ``market``: the market's; ``day``: the bar's New York date as days since 1970, ``minute``: its start
    as minutes after New York midnight.
    """

    @cached_property
    def _known(self) -> dict[tuple[object, ...], Any]:
        return {}

    def once(self, work: Callable[..., _Result], *args: int) -> _Result:
        """``work(self, *args)``, done once however many features ask for it. The arrays it gives are shared: do not write to them."""
        key = (work, *args)
        if key not in self._known:
            self._known[key] = work(self, *args)
        return cast("_Result", self._known[key])


class MarketCursor(ABC):
    """A market feature in a stream."""

    @abstractmethod
    def update(self, time: int, market: float) -> FloatArray:
        """Values (one for each suffix) at ``time`` (ns since 1970, UTC), ``market`` being the market's log return there."""

    @abstractmethod
    def save(self) -> State:
        """What it remembers, as JSON."""

    @abstractmethod
    def restore(self, saved: State) -> None:
        """Go on from what :meth:`save` gave."""


@dataclasses.dataclass(frozen=True)
class Feature(ABC):
    """Parameters are the dataclass fields. ``frozen`` says that its values rest on statistics that ``fit`` keeps of the training bars.

    ``formula`` and ``reference`` are printed in docs/features.md, in the notation explained there.
    """

    kind: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    frozen: ClassVar[bool] = False
    suffixes: ClassVar[tuple[str, ...]] = ("",)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Earlier columns it reads."""
        return ()

    @property
    @abstractmethod
    def warmup(self) -> int:
        """Bars needed before (and with) the first value."""

    @property
    def memory(self) -> int:
        """Bars a value can depend on; a stream keeps that many."""
        return self.warmup

    def columns(self, name: str) -> tuple[str, ...]:
        """Names of its output columns when configured as ``name``."""
        return tuple(name + suffix for suffix in self.suffixes)


class SymbolFeature(Feature):
    """Computed for each symbol from its own bars."""

    def fit(self, series: Mapping[str, Series]) -> State:
        """Statistics to freeze, from training bars only."""
        return NO_FIT

    @abstractmethod
    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        """Rows ``first`` to the last; row i may read bars up to i only."""


class ColumnFeature(Feature):
    """A function of one value of an earlier column."""

    def fit(self, values: Mapping[str, FloatArray]) -> State:
        """Statistics to freeze, from the column's training values of each symbol."""
        return NO_FIT

    @abstractmethod
    def compute(self, values: FloatArray, symbol: str, state: State) -> FloatArray:
        """One result for each value."""


class CrossSectionFeature(Feature):
    """Compares the symbols present at one time stamp."""

    @abstractmethod
    def compute(self, values: FloatArray, order: IntArray, bounds: IntArray) -> FloatArray:
        """Results in the order of ``values``; time stamp g holds rows ``order[bounds[g]:bounds[g + 1]]``."""


class MarketFeature(Feature):
    """Computed once a time stamp from the market return series."""

    @abstractmethod
    def fit(self, times: IntArray, market: FloatArray) -> State:
        """State to freeze. Its value at a training time t must come from returns up to t only."""

    @abstractmethod
    def compute(self, times: IntArray, market: FloatArray, state: State) -> FloatArray:
        """Array (time stamps, suffixes)."""

    @abstractmethod
    def cursor(self, state: State) -> MarketCursor:
        """The same, one time stamp at a time."""


class ClockFeature(Feature):
    """A function of the time stamp."""

    @property
    def warmup(self) -> int:
        return 1

    @abstractmethod
    def compute(self, times: IntArray) -> FloatArray:
        """One value for each time stamp (ns since 1970, UTC)."""


REGISTRY: dict[str, type[Feature]] = {}
_Class = TypeVar("_Class", bound=type[Feature])


def register(kind: str, *, formula: str = "", reference: str = "") -> Callable[[_Class], _Class]:
    """Make a feature class available to configurations under ``kind``, and declare what it computes and after whom."""

    def add(cls: _Class) -> _Class:
        if kind in REGISTRY:
            raise FeatureConfigError("a new feature kind", f"{kind!r} twice")
        cls.kind, cls.formula, cls.reference = kind, formula, reference
        REGISTRY[kind] = cls
        return cls

    return add


def build(kind: str, params: Mapping[str, Any]) -> Feature:
    """The feature of ``kind`` with ``params``.

    Raises:
        FeatureConfigError: unknown kind or parameter (with the nearest known one), or a value out of range.
    """
    if kind not in REGISTRY:
        raise FeatureConfigError("a known feature kind", repr(kind), fix=nearest(kind, REGISTRY))
    cls = REGISTRY[kind]
    known = {field.name for field in dataclasses.fields(cls)}
    for name in params:
        if name not in known:
            raise FeatureConfigError(f"a parameter of {kind!r}", repr(name), fix=nearest(name, known))
    missing = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING and f.name not in params]
    if missing:
        raise FeatureConfigError(f"{kind!r} with {', '.join(missing)}", f"only {sorted(params)}")
    return cls(**params)


def require_integer(kind: str, name: str, value: object, least: int) -> None:
    """Raise FeatureConfigError unless ``value`` is an integer of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise FeatureConfigError(f"{kind}: {name} an integer of at least {least}", repr(value))


@dataclasses.dataclass(frozen=True)
class Windowed(SymbolFeature):
    """A symbol feature over the last ``window`` values of something; ``extra`` bars beyond the window are needed (1 for returns)."""

    window: int
    extra: ClassVar[int] = 0
    least: ClassVar[int] = 2

    def __post_init__(self) -> None:
        require_integer(self.kind, "window", self.window, self.least)

    @property
    def warmup(self) -> int:
        return self.window + self.extra
