"""FeaturePipeline: a declarative list of named features; ``fit`` freezes statistics, ``transform`` and ``stream`` only use them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from alphatrade_pipelines.features.base import Feature, FloatArray, State, SymbolFeature, build
from alphatrade_pipelines.features.defaults import default_features
from alphatrade_pipelines.features.errors import FeatureConfigError, FeatureInputError, nearest
from alphatrade_pipelines.features.evaluate import compute_feature, fit_feature
from alphatrade_pipelines.features.sealed import content_hash, seal, unseal
from alphatrade_pipelines.features.table import Table
from alphatrade_pipelines.market import Timeframe

if TYPE_CHECKING:
    from alphatrade_pipelines.features.stream import FeatureStream

FORMAT = 1


class FeaturePipeline:
    """Features before fitting.

    ``features`` maps names to configured features, in order of computation: a feature that reads a column stands after it. Several
    outputs of one feature get its name plus a suffix. Raises FeatureConfigError for an unknown column or a repeated one.
    """

    def __init__(self, timeframe: str | Timeframe, features: Mapping[str, Feature]) -> None:
        self.timeframe = Timeframe.parse(timeframe)
        self.features = dict(features)
        if not self.features:
            raise FeatureConfigError("at least one feature", "none")
        seen: list[str] = []
        for name, feature in self.features.items():
            for needed in feature.inputs:
                if needed not in seen:
                    fix = nearest(needed, seen) if seen else "Put that feature first."
                    raise FeatureConfigError(f"feature {name!r} to read a column computed before it", repr(needed), fix=fix)
            seen.extend(feature.columns(name))
        if len(set(seen)) < len(seen):
            raise FeatureConfigError("column names used once", ", ".join(sorted({name for name in seen if seen.count(name) > 1})))
        self.feature_names = tuple(seen)

    @classmethod
    def default(cls, timeframe: str | Timeframe = "1Day") -> FeaturePipeline:
        """The default set for daily or for intraday bars."""
        parsed = Timeframe.parse(timeframe)
        return cls(parsed, default_features(parsed.is_daily))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> FeaturePipeline:
        """Build from ``{"timeframe": "1Day", "features": [{"name": ..., "kind": ..., "params": {...}}, ...]}``.

        Raises:
            FeatureConfigError: unknown kind or parameter (the nearest known one is named), or a name used twice.
        """
        features: dict[str, Feature] = {}
        for item in config["features"]:
            if item["name"] in features:
                raise FeatureConfigError("feature names used once", f"{item['name']!r} twice")
            features[item["name"]] = build(item["kind"], item.get("params", {}))
        return cls(config["timeframe"], features)

    def to_config(self) -> dict[str, Any]:
        """Inverse of :meth:`from_config`."""
        items = [{"name": name, "kind": one.kind, "params": dataclasses.asdict(one)} for name, one in self.features.items()]
        return {"timeframe": str(self.timeframe), "features": items}

    def select(self, names: list[str]) -> FeaturePipeline:
        """The same pipeline with only these features, and those they read.

        Raises:
            FeatureConfigError: an unknown name, with the nearest known one.
        """
        owner = {column: name for name, feature in self.features.items() for column in feature.columns(name)} | {
            name: name for name in self.features
        }
        wanted: set[str] = set()
        pending = list(names)
        while pending:
            name = pending.pop()
            if name not in owner:
                raise FeatureConfigError("a configured feature", repr(name), fix=nearest(name, owner))
            wanted.add(owner[name])
            pending.extend(self.features[owner[name]].inputs)
        return FeaturePipeline(self.timeframe, {name: one for name, one in self.features.items() if name in wanted})

    @property
    def warmup(self) -> dict[str, int]:
        """Bars before (and with) the first value, by column: own bars for a symbol feature, market bars for a market feature."""
        found: dict[str, int] = {}
        for name, feature in self.features.items():
            bars = max([feature.warmup, *(found[column] for column in feature.inputs)])
            found |= dict.fromkeys(feature.columns(name), bars)
        return found

    def fit(self, train_bars: pd.DataFrame) -> FittedPipeline:
        """Freeze every statistic on ``train_bars`` (index (symbol, timestamp), raw prices with split and dividend columns).

        Raises:
            FeatureInputError: malformed bars, or a window longer than the longest history.
        """
        table = Table.of(train_bars)
        self._require_history(table)
        columns: dict[str, FloatArray] = {}
        states: dict[str, State] = {}
        for name, feature in self.features.items():
            state = fit_feature(feature, table, columns)
            if state is not None:
                states[name] = state
            columns |= _named(feature, name, compute_feature(feature, table, columns, state))
        stamps = pd.DatetimeIndex(table.group_times[[0, -1]], tz="UTC")
        trained = {"start": stamps[0].isoformat(), "end": stamps[1].isoformat(), "rows": len(train_bars), "symbols": list(table.symbols)}
        return FittedPipeline(self, states, trained)

    def _require_history(self, table: Table) -> None:
        longest = int(np.diff(table.bounds).max())
        for name, feature in self.features.items():
            available = longest if isinstance(feature, SymbolFeature) else len(table.group_times)
            if feature.warmup > available:
                fix = "Load a longer history or shorten the window."
                raise FeatureInputError(f"at least {feature.warmup} training bars for feature {name!r}", f"at most {available}", fix=fix)


class FittedPipeline:
    """Frozen: configuration, statistics, and a description of the training span; all of it JSON, identified by ``content_hash``.

    For every feature and every t, ``transform(bars).loc[t]``, ``transform(bars cut at t).loc[t]`` and the row the stream gives at t are
    equal to the last bit. Bars must start at the same bar in each case: forward adjustment and the regime filter begin there.
    """

    def __init__(self, pipeline: FeaturePipeline, states: Mapping[str, State], trained: Mapping[str, Any]) -> None:
        self.pipeline = pipeline
        self.states = dict(states)
        self.trained = dict(trained)
        self.content_hash = content_hash(self._content())

    @property
    def timeframe(self) -> Timeframe:
        """Bar length it was configured for."""
        return self.pipeline.timeframe

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Output columns, in order."""
        return self.pipeline.feature_names

    @property
    def warmup(self) -> dict[str, int]:
        """See :attr:`FeaturePipeline.warmup`."""
        return self.pipeline.warmup

    @property
    def warmup_bars(self) -> int:
        """Own bars after which every feature of a symbol has left its warm-up (a market feature's is not the symbol's)."""
        return max([1, *(feature.warmup for feature in self.pipeline.features.values() if isinstance(feature, SymbolFeature))])

    @property
    def memory_bars(self) -> int:
        """Bars of a symbol that a value of a symbol feature can depend on."""
        return max([2, *(feature.memory for feature in self.pipeline.features.values() if isinstance(feature, SymbolFeature))])

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Features of raw bars, same index, one float64 column for each of ``feature_names``; NaN as features.base says.

        Raises:
            FeatureInputError: malformed bars.
        """
        table = Table.of(bars)
        columns: dict[str, FloatArray] = {}
        for name, feature in self.pipeline.features.items():
            columns |= _named(feature, name, compute_feature(feature, table, columns, self.states.get(name)))
        return pd.DataFrame(columns, index=bars.index)

    def stream(self, history: pd.DataFrame | None = None) -> FeatureStream:
        """The same features one time stamp at a time, as if ``history`` (if given) had been streamed already."""
        from alphatrade_pipelines.features.stream import FeatureStream

        return FeatureStream(self, history)

    def resume(self, saved: str) -> FeatureStream:
        """The stream that :meth:`FeatureStream.to_json` saved, in this process or another; it goes on to the same bits.

        Raises:
            FeatureStateError: damaged, of another format, or saved from another fitted pipeline.
        """
        stream = self.stream()
        stream.restore(saved)
        return stream

    def describe(self) -> dict[str, Any]:
        """What was fitted, for metadata and logs."""
        warmup, listed = self.warmup, self.pipeline.to_config()["features"]
        for item in listed:
            item["warmup"] = warmup[self.pipeline.features[item["name"]].columns(item["name"])[0]]
        head = {"content_hash": self.content_hash, "timeframe": str(self.timeframe), "trained": self.trained}
        return head | {"features": listed} | self._fitted()

    def _fitted(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, state in self.states.items():
            kind = self.pipeline.features[name].kind
            if kind == "fracdiff":
                found[f"{name}_order"] = state
            if kind == "regime":
                found[f"{name}_fits"] = {"accepted": len(state["models"]), "rejected": state["rejected"]}
        return found

    def to_json(self) -> str:
        """Everything, with its content hash."""
        return seal(self._content())

    @classmethod
    def from_json(cls, text: str) -> FittedPipeline:
        """Inverse of :meth:`to_json`, to the last bit.

        Raises:
            FeatureStateError: not JSON, another format version, or content that does not match its hash.
        """
        loaded = unseal(text, FORMAT, "fitted pipeline")
        return cls(FeaturePipeline.from_config(loaded["config"]), loaded["states"], loaded["trained"])

    def _content(self) -> dict[str, Any]:
        return {"format": FORMAT, "config": self.pipeline.to_config(), "states": self.states, "trained": self.trained}


def _named(feature: Feature, name: str, values: FloatArray) -> dict[str, FloatArray]:
    return {column: np.ascontiguousarray(values[:, position]) for position, column in enumerate(feature.columns(name))}
