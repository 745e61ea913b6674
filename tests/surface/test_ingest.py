"""Bars by period, back-fills in one run, and gates that really stop what is downstream of a defect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.market import SampleSource
from alphatrade_pipelines.settings import Settings
from tests.surface.house import failure_text, over, run, settings_of

PAIR = ("AAPL", "IBM")


def paired(home: Path, **market: Any) -> Settings:
    return settings_of(home, market={"symbols": PAIR, **market})


def materialized(result: dg.ExecuteInProcessResult) -> list[str]:
    """Assets with a materialization in this run, one entry a partition."""
    return [str(event.asset_key.to_user_string()) for event in result.get_asset_materialization_events() if event.asset_key]


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


def write_files(folder: Path, bars: pd.DataFrame) -> None:
    """One CSV a symbol, as a person would keep them."""
    folder.mkdir(exist_ok=True)
    for symbol, rows in bars.groupby(level="symbol"):
        flat = rows.droplevel("symbol").reset_index()
        flat["timestamp"] = flat["timestamp"].dt.date
        flat.to_csv(folder / f"{symbol}.csv", index=False)


def pair_of_2012() -> pd.DataFrame:
    return SampleSource().fetch(PAIR, "2012-01-01", "2013-01-01")


def test_a_period_is_ingested_once_and_described(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    settings = paired(tmp_path / "home")
    first, again, later = (run(settings, instance, "ingest", partition_key=key) for key in ("2011", "2011", "2012"))
    assert [result.success for result in (first, again, later)] == [True] * 3
    rows = [one.asset_materializations_for_node("raw_bars")[0].metadata["new_rows"].value for one in (first, again, later)]
    assert rows == [2 * 252, 0, 2 * 250]
    store = bootstrap.bar_store(settings).describe()
    assert (store["first"][:10], store["last"][:10], store["rows"]) == ("2011-01-03", "2012-12-31", 2 * 502)
    assert checks(later) == {"raw_bars_are_sound": True, "bars_are_sound": True}
    told = later.asset_materializations_for_node("bars")[0].metadata
    assert {"data_hash", "training_cut", "quality", "closes", "source", "synthetic"} <= set(told)
    assert "data:image/png" in str(told["closes"].value)


def test_a_back_fill_is_one_run_over_many_periods(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    settings = paired(tmp_path / "home")
    result = run(settings, instance, "ingest", tags=over("2009", "2012"))
    assert result.success
    assert instance.get_materialized_partitions(dg.AssetKey("raw_bars")) == {"2009", "2010", "2011", "2012"}
    assert len(instance.get_runs()) == 1
    assert bootstrap.raw_store(settings).describe()["first"].startswith("2009-01-02")


def test_data_version_is_the_content_of_the_bars(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    settings = paired(tmp_path / "home")
    run(settings, instance, "ingest", partition_key="2012")
    event = instance.get_latest_materialization_event(dg.AssetKey("bars"))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.tags is not None
    assert event.asset_materialization.tags["dagster/data_version"] == bootstrap.bar_store(settings).data_hash()


def test_a_bad_raw_bar_stops_before_the_bars(instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's own check is switched off: the suite must catch alone what would have got past it."""
    settings = paired(tmp_path / "home")
    bars = pair_of_2012()
    bars.iloc[40, bars.columns.get_loc("low")] = bars["high"].iloc[40] * 1.2

    class Careless(SampleSource):
        def fetch(self, *_args: Any, **_named: Any) -> pd.DataFrame:
            return bars

    monkeypatch.setattr(bootstrap, "bar_source", lambda _settings: Careless())
    monkeypatch.setattr("alphatrade_pipelines.market.store.check_bars", lambda *_args, **_named: None)
    result = run(settings, instance, "ingest", partition_key="2012")
    assert not result.success
    assert checks(result) == {"raw_bars_are_sound": False}
    assert materialized(result) == ["raw_bars"]
    assert not bootstrap.bar_store(settings).exists
    failed = result.get_asset_check_evaluations()[0].metadata["failed"].value
    assert "expect_column_pair_values_a_to_be_greater_than_b" in str(failed)


def test_an_unrecorded_split_stops_before_the_features(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Sound bar by bar, absurd together: only the suite on ``bars`` sees it, and nothing is learned from it."""
    bars = pair_of_2012()
    later = (bars.index.get_level_values("symbol") == "IBM") & (bars.index.get_level_values("timestamp") >= "2012-06-15")
    bars.loc[later, ["open", "high", "low", "close"]] /= 4
    write_files(tmp_path / "files", bars)
    settings = paired(tmp_path / "home", source="files", files={"path": tmp_path / "files"})
    result = run(settings, instance, "retrain", partition_key="2012")
    assert not result.success
    assert checks(result) == {"raw_bars_are_sound": True, "bars_are_sound": False}
    assert materialized(result) == ["raw_bars", "bars"]
    assert "move" in str(result.get_asset_check_evaluations()[1].metadata["failed"].value)


def test_the_same_files_without_the_defect_pass(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    write_files(tmp_path / "files", pair_of_2012())
    settings = paired(tmp_path / "home", source="files", files={"path": tmp_path / "files"})
    result = run(settings, instance, "ingest", partition_key="2012")
    assert result.success
    assert checks(result) == {"raw_bars_are_sound": True, "bars_are_sound": True}


@pytest.mark.parametrize(
    ("defect", "told"),
    [
        (lambda text: text.replace("close", "clsoe", 1), ["a column 'close'", "clsoe", "IBM.csv"]),
        (lambda text: text.replace("\n", "\n2012-01-02,abc,1,1,1,1,1,0\n", 1), ["numbers in 'open'", "'abc'", "IBM.csv"]),
        (lambda _text: "", ["IBM.csv"]),
    ],
    ids=["misspelt column", "text in a price", "empty file"],
)
def test_a_bad_file_is_named_and_leaves_nothing(defect: Any, told: list[str], instance: dg.DagsterInstance, tmp_path: Path) -> None:
    write_files(tmp_path / "files", pair_of_2012())
    path = tmp_path / "files" / "IBM.csv"
    path.write_text(defect(path.read_text()))
    settings = paired(tmp_path / "home", source="files", files={"path": tmp_path / "files"})
    result = run(settings, instance, "ingest", partition_key="2012")
    assert not result.success
    assert materialized(result) == []
    for words in told:
        assert words in failure_text(result)
    assert not bootstrap.raw_store(settings).exists
    assert not bootstrap.bar_store(settings).exists


def test_a_symbol_without_enough_history_is_named(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    bars = pair_of_2012()
    ibm = bars[bars.index.get_level_values("symbol") == "IBM"].iloc[:10]
    write_files(tmp_path / "files", pd.concat([bars[bars.index.get_level_values("symbol") == "AAPL"], ibm]))
    settings = paired(tmp_path / "home", source="files", files={"path": tmp_path / "files"})
    result = run(settings, instance, "ingest", partition_key="2012")
    assert not result.success
    assert "IBM has 10" in failure_text(result)
    assert not bootstrap.bar_store(settings).exists


def test_an_unknown_symbol_is_named_with_its_neighbours(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home", market={"symbols": ("APPL", "IBM")})
    result = run(settings, instance, "ingest", partition_key="2012")
    assert not result.success
    assert "APPL" in failure_text(result)
    assert "AAPL" in failure_text(result)
    assert not bootstrap.raw_store(settings).exists
