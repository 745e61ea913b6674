"""Reading one CSV or Parquet file into a flat frame with our column names, or saying what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from alphatrade_pipelines.market.bars import OPTIONAL, PRICES, check_columns, check_numeric
from alphatrade_pipelines.market.errors import BarDataError

SUFFIXES = (".csv", ".csv.gz", ".zip", ".parquet")
_NUMERIC = (*PRICES, "volume", "split", "dividend", *OPTIONAL)
_MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "-"]


def suffix_of(path: Path) -> str:
    """The supported suffix of a file name, or an empty string."""
    return next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(suffix)), "")


def read_table(
    path: Path, columns: Mapping[str, str], header: tuple[str, ...] | None = None, *, has_symbol: bool
) -> tuple[pd.DataFrame, int]:
    """The file's rows under our names (unmapped extra columns left out), and the line number of its first row.

    Raises:
        BarDataError: empty, truncated or unreadable file; missing or misspelt column; text where a number belongs; empty symbol.
    """
    where = str(path)
    if path.stat().st_size == 0:
        raise BarDataError("bars", "an empty file (0 bytes)", where=where, fix="Download it again.")
    theirs = {name: columns.get(name, name) for name in ("symbol", "timestamp", *_NUMERIC)}
    raw, first_line = (_read_parquet(path), 0) if suffix_of(path) == ".parquet" else _read_csv(path, theirs, header)
    required = [*(["symbol"] if has_symbol else []), "timestamp", *PRICES, "volume", *(name for name in columns if name in theirs)]
    check_columns(raw.columns, [theirs[name] for name in dict.fromkeys(required)], where=where)
    wanted = {name: raw[column] for name, column in theirs.items() if column in raw and (name != "symbol" or has_symbol)}
    flat = pd.DataFrame(wanted)
    if flat.empty:
        raise BarDataError("at least one row", "only column names", where=where, fix="Download it again.")
    for name in _NUMERIC:
        if name in flat:
            check_numeric(flat[name], theirs[name], where=where, first_line=first_line)
    if has_symbol and flat["symbol"].isna().any():
        line = first_line + int(flat["symbol"].isna().to_numpy().argmax())
        raise BarDataError("a symbol in each row", "an empty one", where=f"{where}, line {line}")
    return flat, first_line


def _read_csv(path: Path, theirs: Mapping[str, str], header: tuple[str, ...] | None) -> tuple[pd.DataFrame, int]:
    # only numbers may be missing: NA and NAN are good symbols
    missing = {theirs[name]: _MISSING for name in _NUMERIC} | {theirs[name]: [""] for name in ("symbol", "timestamp")}
    try:
        frame = pd.read_csv(
            path,
            header=None if header else 0,
            names=list(header) if header else None,
            dtype={theirs["symbol"]: "str"},
            keep_default_na=False,
            na_values=missing,
            skipinitialspace=True,
            low_memory=False,
        )
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, OSError, EOFError, ValueError) as error:
        raise BarDataError(
            "a readable CSV file", f"{error}", where=str(path), fix="Check that it is complete, and its encoding."
        ) from error
    return frame, 1 if header else 2


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa

    try:
        frame = pd.read_parquet(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BarDataError(
            "a complete Parquet file", f"damage: {error}", where=str(path), fix="It may be truncated: download it again."
        ) from error
    # an index written by pandas carries the symbol or the time
    return frame.reset_index() if frame.index.names != [None] else frame
