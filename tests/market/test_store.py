"""The store: content hashes, atomic swaps, idempotent appends, and damage named by file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.market import BarDataError, BarStore, Timeframe

Frame = pd.DataFrame
Write = Callable[[Frame], object]


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    return BarStore(tmp_path / "bars")


@pytest.fixture
def write(store: BarStore, daily: Timeframe) -> Write:
    return lambda bars: store.write(bars, daily, "test", synthetic=False)


def snapshot(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir() if path.name != ".lock"}


def test_what_goes_in_comes_out(store: BarStore, write: Write, bars: Frame) -> None:
    with_vwap = bars.assign(vwap=np.where(np.arange(len(bars)) % 3 == 0, np.nan, bars["close"]))
    write(with_vwap)
    pd.testing.assert_frame_equal(store.read(), with_vwap, check_exact=True)
    pd.testing.assert_frame_equal(store.read(["BBB"]), with_vwap.loc[["BBB"]], check_exact=True)
    part = store.read(start="2013-01-07", end="2013-01-09")
    assert len(part) == 4
    described = store.describe()
    assert {key: described[key] for key in ("timeframe", "source", "synthetic", "symbols", "rows", "first")} == {
        "timeframe": "1Day",
        "source": "test",
        "synthetic": False,
        "symbols": ["AAA", "BBB"],
        "rows": 40,
        "first": "2013-01-02T14:30:00+00:00",
    }
    assert described["data_hash"] == store.data_hash()


def test_the_hash_is_of_the_content(store: BarStore, write: Write, bars: Frame, daily: Timeframe, tmp_path: Path) -> None:
    write(bars)
    first = store.data_hash()
    write(bars)
    assert store.data_hash() == first
    piecewise = BarStore(tmp_path / "piecewise")
    piecewise.append(bars.iloc[:7], daily, "test", synthetic=False)
    piecewise.append(bars.iloc[7:], daily, "test", synthetic=False)
    assert piecewise.data_hash() == first
    changed = bars.copy()
    changed.iloc[0, changed.columns.get_loc("volume")] += 1
    write(changed)
    assert store.data_hash() != first


def test_appending_is_incremental_and_idempotent(store: BarStore, bars: Frame, daily: Timeframe) -> None:
    old = bars[bars.index.get_level_values("timestamp") < pd.Timestamp("2013-01-15", tz="UTC")]
    result = store.append(old, daily, "test", synthetic=False)
    assert (result.added, result.unchanged) == (len(old), 0)
    assert store.last_bars()["AAA"] == pd.Timestamp("2013-01-14T14:30Z")
    result = store.append(bars, daily, "test", synthetic=False)
    assert (result.added, result.unchanged, result.replaced) == (len(bars) - len(old), len(old), 0)
    before = snapshot(store.root)
    again = store.append(bars, daily, "test", synthetic=False)
    assert (again.added, again.unchanged) == (0, len(bars))
    assert snapshot(store.root) == before
    pd.testing.assert_frame_equal(store.read(), bars, check_exact=True)


def test_changed_history_is_refused_unless_replaced(store: BarStore, write: Write, bars: Frame, daily: Timeframe) -> None:
    write(bars)
    before = snapshot(store.root)
    changed = bars.tail(3).copy()
    changed.iloc[1, changed.columns.get_loc("volume")] = 7.0
    with pytest.raises(BarDataError, match=r"BBB at 2013-01-29.*found volume .* -> 7\.0.*replace=True"):
        store.append(changed, daily, "test", synthetic=False)
    assert snapshot(store.root) == before
    result = store.append(changed, daily, "test", synthetic=False, replace=True)
    assert (result.added, result.replaced, result.unchanged) == (0, 1, 2)
    assert store.read(["BBB"])["volume"].iloc[-2] == 7.0


def test_other_kinds_of_bars_are_refused(store: BarStore, write: Write, bars: Frame, daily: Timeframe) -> None:
    write(bars)
    with pytest.raises(BarDataError, match="expected synthetic False, found True"):
        store.append(bars, daily, "test", synthetic=True)
    with pytest.raises(BarDataError, match="expected source test, found other"):
        store.append(bars, daily, "other", synthetic=False)
    with pytest.raises(BarDataError, match="expected timeframe 1Day, found 1Min"):
        store.append(bars, Timeframe.parse("1Min"), "test", synthetic=False)


def test_bad_bars_leave_nothing_behind(store: BarStore, write: Write, bars: Frame, daily: Timeframe) -> None:
    bad = bars.copy()
    bad.iloc[0, bad.columns.get_loc("close")] = np.nan
    with pytest.raises(BarDataError, match="positive price"):
        write(bad)
    assert not store.exists
    assert not store.root.exists()
    with pytest.raises(BarDataError, match=r"a bar store, found none.*Ingest bars first"):
        store.read()
    write(bars)
    before = snapshot(store.root)
    with pytest.raises(BarDataError, match="positive price"):
        store.append(bad, daily, "test", synthetic=False)
    assert snapshot(store.root) == before


def test_unknown_symbols_are_named(store: BarStore, write: Write, bars: Frame) -> None:
    write(bars)
    with pytest.raises(BarDataError, match=r"one of AAA, BBB, found unknown symbol 'BBC'.*Did you mean 'BBB'"):
        store.read(["AAA", "BBC"])


@pytest.mark.parametrize("damage", ["truncated", "empty", "bit flip", "other content"])
def test_a_damaged_file_is_named(store: BarStore, write: Write, bars: Frame, damage: str) -> None:
    write(bars)
    victim = next(store.root.glob("BBB-*.parquet"))
    content = victim.read_bytes()
    if damage == "truncated":
        victim.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        victim.write_bytes(b"")
    elif damage == "bit flip":
        at = content.index(np.float64(bars.loc["BBB"]["close"].iloc[0]).tobytes())
        victim.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    else:
        victim.write_bytes(next(store.root.glob("AAA-*.parquet")).read_bytes())
    with pytest.raises(BarDataError) as caught:
        store.read()
    assert victim.name in str(caught.value)
    assert len(store.read(["AAA"])) == 20


def test_a_missing_file_and_a_damaged_manifest_are_named(store: BarStore, write: Write, bars: Frame) -> None:
    write(bars)
    manifest = store.root / "manifest.json"
    good = manifest.read_text()
    manifest.write_text(good[:50])
    with pytest.raises(BarDataError, match=r"manifest\.json: expected a readable manifest"):
        store.read()
    manifest.write_text(good.replace('"timeframe": "1Day"', '"timeframe": "1Min"'))
    with pytest.raises(BarDataError, match="changed by hand"):
        store.read()
    manifest.write_text(json.dumps(json.loads(good) | {"format": 99}))
    with pytest.raises(BarDataError, match="store format 1, found format 99"):
        store.read()
    manifest.write_text(good)
    next(store.root.glob("AAA-*.parquet")).unlink()
    with pytest.raises(BarDataError, match=r"every file the manifest lists, found no .*AAA-"):
        store.read()


def test_symbols_may_hold_any_character(store: BarStore, make_daily: Callable[..., Frame], daily: Timeframe) -> None:
    bars = make_daily(("BRK.B", "BRK/B", "NA"), 3)
    store.write(bars, daily, "test", synthetic=False)
    pd.testing.assert_frame_equal(store.read(), bars, check_exact=True)


def test_readers_see_the_old_or_the_new_never_a_mixture(store: BarStore, write: Write, bars: Frame) -> None:
    versions = []
    for factor in (1.0, 2.0):
        version = bars.assign(**{name: bars[name] * factor for name in ("open", "high", "low", "close")})
        versions.append(version)
    write(versions[0])
    stop, failures, seen = threading.Event(), [], set()

    def read() -> None:
        while not stop.is_set():
            found = store.read()
            match = [index for index, version in enumerate(versions) if found.equals(version)]
            if len(match) != 1:
                failures.append(found)
            seen.update(match)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(30):
        write(versions[(turn + 1) % 2])
    stop.set()
    for reader in readers:
        reader.join(timeout=30)
    assert not failures
    assert seen == {0, 1}


CRASH = """
import os, sys
from pathlib import Path
import pandas as pd
from alphatrade_pipelines.market import BarStore, Timeframe
from alphatrade_pipelines.market import store as module
real = os.replace
def replace(source, target):
    if Path(target).name == sys.argv[2]:
        os._exit(9)  # dies before the swap
    real(source, target)
os.replace = replace
store = BarStore(sys.argv[1])
bars = store.read()
store.write(bars.assign(volume=bars["volume"] + 1), Timeframe.parse("1Day"), "test", synthetic=False)
"""


def test_a_writer_that_dies_leaves_the_old_bars(store: BarStore, write: Write, bars: Frame) -> None:
    write(bars)
    died = subprocess.run(
        [sys.executable, "-c", CRASH, str(store.root), "manifest.json"], check=False, env=os.environ | {"PYTHONPATH": os.getcwd()}
    )
    assert died.returncode == 9
    pd.testing.assert_frame_equal(store.read(), bars, check_exact=True)
    assert len(list(store.root.glob("*.parquet"))) == 4  # the orphans of the dead writer
    write(bars)
    assert len(list(store.root.glob("*.parquet"))) == 2
    assert not list(store.root.glob(".tmp-*"))
