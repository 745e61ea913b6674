"""Assets are computed again only when something they depend on has changed: a night without new bars ends in seconds.

What an asset depends on is written down as a fingerprint: data versions of its inputs, the source code of the rooms it calls, and the
settings it reads. The fingerprint is metadata of every materialization; when the newest one carries the same, the stored value is
kept and so are its data version and its pages. A run with the tag ``alphatrade/recompute`` computes everything.
"""

import functools
import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar, cast

import dagster as dg
import pandas as pd

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.settings import Settings

FINGERPRINT = "fingerprint"
RECOMPUTE_TAG = "alphatrade/recompute"
_DATA_VERSION_TAG = "dagster/data_version"
_Function = TypeVar("_Function", bound=Callable[..., Any])


class KeptFrame(pd.DataFrame):
    """Stands for a stored DataFrame that is still right; the IO manager leaves its file alone."""


class KeptFacts(dict[str, Any]):
    """Stands for stored facts that are still right; the IO manager leaves their file alone."""


def reusable(
    *,
    inputs: tuple[str, ...] = (),
    rooms: tuple[str, ...],
    sections: tuple[str, ...],
    kept: type[Any] | None = None,
    also: Callable[[Settings], str] | None = None,
    still_there: Callable[[Settings], bool] | None = None,
) -> Callable[[_Function], _Function]:
    """Make an asset's function skip its work when nothing changed. Goes between ``@dg.asset`` and the function.

    Args:
        inputs: assets whose data versions count.
        rooms: packages or modules of ``alphatrade_pipelines`` whose source counts.
        sections: parts of the settings that count; the mode always does.
        kept: :class:`KeptFrame` or :class:`KeptFacts`, as the asset's value is; None for an asset without a value.
        also: anything else that counts, as text.
        still_there: False when something outside the asset store that the value names is gone.
    """

    def decorate(function: _Function) -> _Function:
        name = function.__name__

        @functools.wraps(function)
        def compute(*args: Any, **kwargs: Any) -> dg.MaterializeResult[Any]:
            context, settings = dg.AssetExecutionContext.get(), cast("Settings", kwargs["settings"])
            facts = {
                "asset": name,
                "inputs": {one: _data_version(context.instance, one) for one in inputs},
                "code": bootstrap.code_hash("bootstrap", *rooms),
                "settings": {section: settings.model_dump(mode="json")[section] for section in ("mode", *sections)},
                "also": also(settings) if also else "",
            }
            seal = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
            there = _stored(settings, name, kept) and (still_there is None or still_there(settings))
            if there and RECOMPUTE_TAG not in context.run.tags:
                again = _as_before(context, name, seal, kept)
                if again is not None:
                    return again
            result: dg.MaterializeResult[Any] = function(*args, **kwargs)
            metadata = {**(result.metadata or {}), FINGERPRINT: seal}
            return result._replace(metadata=metadata, data_version=result.data_version or dg.DataVersion(seal))

        return cast("_Function", compute)

    return decorate


def _as_before(context: dg.AssetExecutionContext, name: str, seal: str, kept: type[Any] | None) -> dg.MaterializeResult[Any] | None:
    """The newest materialization once more, if it has the same fingerprint."""
    last = context.instance.get_latest_materialization_event(dg.AssetKey(name))
    before = last.asset_materialization if last is not None else None
    if last is None or before is None or FINGERPRINT not in before.metadata or before.metadata[FINGERPRINT].value != seal:
        return None
    context.log.info(f"nothing it depends on has changed since run {last.run_id}: kept")
    pages = {label: value for label, value in before.metadata.items() if label != "path"}
    version = dg.DataVersion((before.tags or {}).get(_DATA_VERSION_TAG, seal))
    return dg.MaterializeResult(value=kept() if kept else None, metadata={**pages, "kept_from_run": last.run_id}, data_version=version)


def _data_version(instance: dg.DagsterInstance, name: str) -> str:
    event = instance.get_latest_materialization_event(dg.AssetKey(name))
    if event is None or event.asset_materialization is None:
        return "none"
    return (event.asset_materialization.tags or {}).get(_DATA_VERSION_TAG, event.run_id)


def _stored(settings: Settings, name: str, kept: type[Any] | None) -> bool:
    if kept is None:
        return True
    return (settings.folders.assets / f"{name}.{'parquet' if issubclass(kept, pd.DataFrame) else 'json'}").exists()
