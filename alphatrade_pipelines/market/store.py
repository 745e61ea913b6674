"""The bar store: one Parquet file a symbol, named by its content, and a manifest that is replaced last.

A write puts new files beside the old ones and then swaps ``manifest.json`` with ``os.replace``; a reader sees the old bars or the
new ones, never a mixture, because files are immutable and only those of the manifest are read. Every read verifies content hashes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from alphatrade_pipelines.market.bars import INDEX, OPTIONAL, REQUIRED, between, check_bars, empty_bars, symbols_of
from alphatrade_pipelines.market.errors import BarDataError, check_symbols
from alphatrade_pipelines.market.timeframe import Timeframe

FORMAT = 1
_TEMPORARY = ".tmp-"
_READ_ATTEMPTS = 5  # a reader restarts when a writer swapped the manifest under it


@dataclass(frozen=True, slots=True)
class StoredSymbol:
    """One symbol's file: its name, content hash, row count, first and last bar start (ISO, UTC)."""

    file: str
    hash: str
    rows: int
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a store holds. ``data_hash`` covers time frame, symbols and values, not the encoding or the order of writes."""

    timeframe: str
    source: str
    synthetic: bool
    symbols: dict[str, StoredSymbol]

    @property
    def data_hash(self) -> str:
        content = {"timeframe": self.timeframe, "symbols": {symbol: entry.hash for symbol, entry in sorted(self.symbols.items())}}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a write or append did, in rows, and the data hash afterwards."""

    added: int
    replaced: int
    unchanged: int
    data_hash: str


class BarStore:
    """Bars of one time frame from one source, under ``root``. Safe for one writer at a time and any number of readers."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    @property
    def exists(self) -> bool:
        """True once something has been written."""
        return self._manifest_path.exists()

    def write(self, bars: pd.DataFrame, timeframe: Timeframe, source: str, synthetic: bool) -> WriteResult:
        """Replace everything by ``bars``. Raises :class:`BarDataError`, with the store untouched, when they fail :func:`check_bars`."""
        check_bars(bars, timeframe, where=source)
        with self._writing():
            manifest = self._put(bars, Manifest(str(timeframe), source, synthetic, {}))
            return WriteResult(len(bars), 0, 0, manifest.data_hash)

    def append(self, bars: pd.DataFrame, timeframe: Timeframe, source: str, synthetic: bool, replace: bool = False) -> WriteResult:
        """Add bars. Bars already stored must be equal (appending twice changes nothing); with ``replace`` the new ones win.

        Raises:
            BarDataError: a stored bar differs; time frame, source or synthetic label differ from the store's; bars fail the check.
        """
        check_bars(bars, timeframe, where=source)
        with self._writing():
            if not self.exists:
                manifest = self._put(bars, Manifest(str(timeframe), source, synthetic, {}))
                return WriteResult(len(bars), 0, 0, manifest.data_hash)
            manifest = self.manifest()
            self._check_same_kind(manifest, Manifest(str(timeframe), source, synthetic, {}))
            touched = [symbol for symbol in symbols_of(bars) if symbol in manifest.symbols]
            old = self._read_files(manifest, touched)
            common = bars.index.intersection(old.index)
            differing = _differences(old, bars, common)
            if len(differing) and not replace:
                raise self._conflict(old, bars, differing)
            merged = pd.concat([old.drop(bars.index, errors="ignore"), bars]).sort_index()
            check_bars(merged, timeframe, where=str(self.root))
            manifest = self._put(merged, manifest)
            return WriteResult(len(bars) - len(common), len(differing), len(common) - len(differing), manifest.data_hash)

    def read(
        self, symbols: Sequence[str] | None = None, start: date | datetime | str | None = None, end: date | datetime | str | None = None
    ) -> pd.DataFrame:
        """Bars starting in [start, end), of all or some symbols.

        Raises:
            BarDataError: no store here; unknown symbol; a missing, damaged or truncated file, by name.
        """
        for _ in range(_READ_ATTEMPTS):
            manifest = self.manifest()
            wanted = sorted(manifest.symbols) if symbols is None else sorted(set(symbols))
            check_symbols(wanted, manifest.symbols, where=str(self.root))
            try:
                return between(self._read_files(manifest, wanted), start, end)
            except FileNotFoundError as error:
                missing = error.filename
                if self.manifest() == manifest:
                    break
        raise BarDataError("every file the manifest lists", f"no {missing}", where=str(self.root), fix="Restore it or ingest again.")

    def manifest(self) -> Manifest:
        """The current manifest; :class:`BarDataError` when there is none or it is damaged."""
        path = self._manifest_path
        try:
            raw = json.loads(path.read_text())
            if raw["format"] != FORMAT:
                raise BarDataError(
                    f"store format {FORMAT}", f"format {raw['format']}", where=str(path), fix="Ingest again with this version."
                )
            symbols = {symbol: StoredSymbol(**entry) for symbol, entry in raw["symbols"].items()}
            manifest = Manifest(raw["timeframe"], raw["source"], raw["synthetic"], symbols)
            stated = raw["data_hash"]
        except FileNotFoundError:
            raise BarDataError("a bar store", "none", where=str(self.root), fix="Ingest bars first.") from None
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise BarDataError("a readable manifest", f"{error!r}", where=str(path), fix="Delete the store and ingest again.") from error
        if stated != manifest.data_hash:
            raise BarDataError(
                f"data hash {stated[:12]}", manifest.data_hash[:12], where=str(path), fix="The manifest was changed by hand."
            )
        return manifest

    def data_hash(self) -> str:
        """SHA-256 of the content: equal for equal bars however they were written."""
        return self.manifest().data_hash

    def last_bars(self) -> dict[str, datetime]:
        """Start of the last stored bar of each symbol; empty when nothing is stored yet."""
        return {symbol: datetime.fromisoformat(entry.last) for symbol, entry in self.manifest().symbols.items()} if self.exists else {}

    def describe(self) -> dict[str, Any]:
        """Facts for people: time frame, source, whether synthetic, symbols, rows, first and last bar, data hash."""
        manifest = self.manifest()
        entries = manifest.symbols.values()
        return {
            "root": str(self.root),
            "timeframe": manifest.timeframe,
            "source": manifest.source,
            "synthetic": manifest.synthetic,
            "symbols": sorted(manifest.symbols),
            "rows": sum(entry.rows for entry in entries),
            "first": min(entry.first for entry in entries),
            "last": max(entry.last for entry in entries),
            "data_hash": manifest.data_hash,
        }

    @property
    def _manifest_path(self) -> Path:
        return self.root / "manifest.json"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _put(self, bars: pd.DataFrame, base: Manifest) -> Manifest:
        """Write one file a symbol of ``bars``, then the manifest (base plus these), then remove files nobody refers to."""
        entries = dict(base.symbols)
        for symbol, group in bars.groupby(level="symbol", sort=True):
            entries[str(symbol)] = self._put_symbol(str(symbol), group)
        manifest = Manifest(base.timeframe, base.source, base.synthetic, entries)
        content = {"format": FORMAT, "data_hash": manifest.data_hash} | asdict(manifest)
        _sync_directory(self.root)  # the manifest must not outlive the files it names
        _write_atomically(self._manifest_path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
        _sync_directory(self.root)
        current = {entry.file for entry in entries.values()}
        for path in [*self.root.glob("*.parquet"), *self.root.glob(f"{_TEMPORARY}*")]:
            if path.name not in current:
                path.unlink()
        return manifest

    def _put_symbol(self, symbol: str, group: pd.DataFrame) -> StoredSymbol:
        digest = content_hash(group)
        file = f"{quote(symbol, safe='')}-{digest[:16]}.parquet"
        flat = group.reset_index(level="symbol", drop=True).reset_index()
        buffer: bytes = flat.to_parquet(None, index=False)
        _write_atomically(self.root / file, buffer)
        stamps = group.index.get_level_values("timestamp")
        return StoredSymbol(file, digest, len(group), stamps[0].isoformat(), stamps[-1].isoformat())

    def _read_files(self, manifest: Manifest, symbols: Sequence[str]) -> pd.DataFrame:
        frames = [self._read_symbol(symbol, manifest.symbols[symbol]) for symbol in symbols]
        return pd.concat(frames) if frames else empty_bars()

    def _read_symbol(self, symbol: str, entry: StoredSymbol) -> pd.DataFrame:
        import pyarrow as pa

        path = self.root / entry.file
        try:
            flat = pd.read_parquet(path)
        except FileNotFoundError as error:
            raise FileNotFoundError(error.errno, error.strerror, str(path)) from error
        except (pa.ArrowException, OSError, ValueError) as error:
            raise BarDataError("a readable Parquet file", f"damage: {error}", where=str(path), fix="Restore it or ingest again.") from error
        index = pd.MultiIndex.from_arrays(
            [pd.array([symbol] * len(flat), dtype="str"), pd.DatetimeIndex(flat.pop("timestamp"))], names=INDEX
        )
        bars = flat.set_axis(index, axis=0)
        found = content_hash(bars)
        if found != entry.hash:
            raise BarDataError(f"content {entry.hash[:12]}", found[:12], where=str(path), fix="The file was changed; ingest again.")
        return bars

    def _check_same_kind(self, stored: Manifest, new: Manifest) -> None:
        for what in ("timeframe", "source", "synthetic"):
            if getattr(stored, what) != getattr(new, what):
                raise BarDataError(
                    f"{what} {getattr(stored, what)}",
                    str(getattr(new, what)),
                    where=str(self.root),
                    fix="Use another store for these bars.",
                )

    def _conflict(self, old: pd.DataFrame, new: pd.DataFrame, differing: pd.Index) -> BarDataError:
        symbol, stamp = differing[0]
        before, after = (frame.loc[differing[:1]].iloc[0] for frame in (old, new))
        changed = [name for name in REQUIRED if before[name] != after[name]] or [name for name in OPTIONAL if name in new]
        values = ", ".join(f"{name} {before.get(name)} -> {after.get(name)}" for name in changed)
        more = f" ({len(differing)} bars differ)" if len(differing) > 1 else ""
        where = f"{self.root}, {symbol} at {stamp.isoformat()}"
        return BarDataError("the stored bar again", f"{values}{more}", where=where, fix="History changed: pass replace=True to accept it.")


def content_hash(bars: pd.DataFrame) -> str:
    """SHA-256 over column names, symbols, time stamps (ns) and float64 values of a bar frame, in its order."""
    columns = [name for name in (*REQUIRED, *OPTIONAL) if name in bars]
    codes, names = pd.factorize(bars.index.get_level_values("symbol"))
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    described = [columns, [str(name) for name in names[codes[starts]]], np.diff(starts, append=len(bars)).tolist()]
    digest = hashlib.sha256(json.dumps(described).encode())
    digest.update(pd.DatetimeIndex(bars.index.get_level_values("timestamp")).as_unit("ns").asi8.astype("<i8").tobytes())
    for name in columns:
        values = bars[name].to_numpy(dtype="<f8")
        digest.update(np.where(np.isnan(values), np.nan, values + 0.0).tobytes())  # one NaN, one zero
    return digest.hexdigest()


def _differences(old: pd.DataFrame, new: pd.DataFrame, common: pd.Index) -> pd.Index:
    """Keys of ``common`` whose values are not the same in both frames (NaN equals NaN; an optional column only one has counts as NaN)."""
    columns = [name for name in (*REQUIRED, *OPTIONAL) if name in old or name in new]
    left, right = (frame.reindex(columns=columns).loc[common].to_numpy(dtype=np.float64) for frame in (old, new))
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    return common.take(np.flatnonzero(~same.all(axis=1)))


def _write_atomically(path: Path, content: bytes) -> None:
    """Temporary file, fsync, rename: after a crash there is the old file or the new one."""
    handle, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _sync_directory(directory: Path) -> None:
    """Make renames in ``directory`` durable."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
