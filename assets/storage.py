"""Where assets keep their values: DataFrames as Parquet, plain facts as JSON, written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from assets.reuse import KeptFacts, KeptFrame


class HouseIOManager(dg.IOManager):
    """One file per asset under ``root``: ``name.parquet`` for a DataFrame, ``name.json`` for a dict; the older form is removed.

    Values are written to a temporary file and moved into place, so a reader sees the old value or the new one, never half.
    Where they lie is a setting of the house, not of a run: a launchpad must not offer to change it, or remember where it was.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        if isinstance(obj, KeptFrame | KeptFacts):
            return  # what is stored is still right
        folder = self.root
        folder.mkdir(parents=True, exist_ok=True)
        name = "_".join(context.asset_key.path)
        if isinstance(obj, pd.DataFrame):
            target, other = folder / f"{name}.parquet", folder / f"{name}.json"
        elif isinstance(obj, dict):
            target, other = folder / f"{name}.json", folder / f"{name}.parquet"
        elif obj is None:
            return
        else:
            raise TypeError(f"asset {name} returned {type(obj).__name__}; expected a DataFrame, a dict or None")
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            if isinstance(obj, pd.DataFrame):
                obj.to_parquet(temporary)
            else:
                temporary.write_text(json.dumps(obj, indent=2, sort_keys=True, allow_nan=False, default=str))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        other.unlink(missing_ok=True)
        context.add_output_metadata({"path": dg.MetadataValue.path(str(target))})

    def load_input(self, context: dg.InputContext) -> Any:
        name = "_".join(context.asset_key.path)
        table, facts = self.root / f"{name}.parquet", self.root / f"{name}.json"
        if table.exists():
            return pd.read_parquet(table)
        if facts.exists():
            return json.loads(facts.read_text())
        raise FileNotFoundError(f"asset {name} has no stored value under {self.root}: materialize {name} first (job retrain)")
