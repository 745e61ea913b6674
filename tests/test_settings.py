"""The settings tree: sources, precedence, refusal of typos, secrets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from alphatrade_pipelines.settings import Settings, load_settings


def test_environment_reaches_nested_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHATRADE_MARKET__SOURCE", "synthetic")
    monkeypatch.setenv("ALPHATRADE_RISK__POSITION_CAP", "0.1")
    settings = load_settings()
    assert settings.market.source == "synthetic"
    assert settings.risk.position_cap == 0.1


def test_toml_file_is_read_and_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[model]\nfolds = 7\nseed = 3\n[market]\nsymbols = ["MSFT", "AAPL"]\n')
    monkeypatch.setenv("ALPHATRADE_CONFIG", str(file))
    monkeypatch.setenv("ALPHATRADE_MODEL__SEED", "11")
    settings = load_settings()
    assert settings.model.folds == 7
    assert settings.model.seed == 11
    assert settings.market.symbols == ("AAPL", "MSFT")


def test_missing_config_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALPHATRADE_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(FileNotFoundError, match=r"none\.toml"):
        load_settings()


def test_unknown_mode_and_misspelt_field_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="mode"):
        load_settings(mode="yolo")
    file = tmp_path / "typo.toml"
    file.write_text("[risk]\npositon_cap = 0.1\n")
    monkeypatch.setenv("ALPHATRADE_CONFIG", str(file))
    with pytest.raises(ValidationError, match="positon_cap"):
        load_settings()


def test_misspelt_environment_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHATRADE_MODUS", "paper")
    with pytest.raises(ValueError, match="ALPHATRADE_MODUS matches no setting"):
        load_settings()


def test_files_source_without_a_path_says_what_to_set() -> None:
    with pytest.raises(ValidationError, match="ALPHATRADE_MARKET__FILES__PATH"):
        load_settings(market={"source": "files"})


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHATRADE_ALPACA__SECRET_KEY", "hunter2hunter2")
    settings = load_settings()
    assert settings.alpaca.secret_key is not None
    assert settings.alpaca.secret_key.get_secret_value() == "hunter2hunter2"
    assert "hunter2" not in repr(settings) + settings.model_dump_json()


def test_home_moves_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHATRADE_HOME", str(tmp_path / "elsewhere"))
    settings: Settings = load_settings()
    folders = settings.folders.create()
    assert all(path.is_relative_to(tmp_path / "elsewhere") for path in vars(folders).values())
    assert str(tmp_path / "elsewhere") in settings.tracking_uri


def test_settings_say_what_a_model_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    from alphatrade_pipelines import bootstrap
    from alphatrade_pipelines.models.labels import BarrierConfig, LabelConfig, TrendConfig
    from alphatrade_pipelines.models.learner import LearnerConfig
    from alphatrade_pipelines.models.primary_fit import PrimaryConfig
    from alphatrade_pipelines.models.weights import WeightConfig, evidence_weights, weigher

    plain = bootstrap.train_config(load_settings())
    assert plain.label == LabelConfig("bracket", plain.barrier)
    assert (plain.barrier.horizon_unit, weigher(plain.weights)) == ("bars", evidence_weights)
    chosen = {
        "LABEL": "meta",
        "PRIMARY": "reversion",
        "PRIMARY_FEATURE": "momentum_5",
        "PRIMARY_THRESHOLD": "0.01",
        "HORIZON": "3",
        "HORIZON_UNIT": "sessions",
        "TREND_SHORTEST": "4",
        "ATTRIBUTION": "true",
        "DECAY": "exponential",
        "DECAY_HALF_LIFE_DAYS": "400",
    }
    for name, value in chosen.items():
        monkeypatch.setenv(f"ALPHATRADE_MODEL__{name}", value)
    config = bootstrap.train_config(load_settings())
    barrier = BarrierConfig(2.0, 2.0, 3, 5.0, horizon_unit="sessions")
    meta = LabelConfig("meta", barrier, primary="reversion", primary_feature="momentum_5", primary_threshold=0.01, trend=TrendConfig(4, 20))
    assert (config.barrier, config.label) == (barrier, meta)
    assert config.weights == WeightConfig(True, "exponential", half_life_days=400.0)
    assert config.primary is None
    monkeypatch.setenv("ALPHATRADE_MODEL__PRIMARY", "model")
    monkeypatch.setenv("ALPHATRADE_MODEL__PRIMARY_REFIT_SESSIONS", "21")
    by_model = bootstrap.train_config(load_settings())
    assert by_model.label == replace(meta, primary="model")
    assert by_model.primary == PrimaryConfig(LearnerConfig(iterations=100), refit_sessions=21, min_rows=1000, embargo=10)
    monkeypatch.setenv("ALPHATRADE_MODEL__PRIMARY_THRESHOLD", "0.5")
    with pytest.raises(ValidationError, match=r"below 0\.5"):
        load_settings()
    monkeypatch.setenv("ALPHATRADE_MODEL__PRIMARY_THRESHOLD", "0.1")
    monkeypatch.setenv("ALPHATRADE_MODEL__LABEL", "trend")
    with pytest.raises(ValidationError, match="ALPHATRADE_MODEL__LABEL=meta"):
        load_settings()
    monkeypatch.setenv("ALPHATRADE_MODEL__LABEL", "hunch")
    with pytest.raises(ValidationError, match="bracket"):
        load_settings()
