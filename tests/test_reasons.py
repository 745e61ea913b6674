"""`explain` shows which features made the model say so, from the bundle that said it, or why it cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from alphatrade_pipelines.models import Bundle, TrainingResult, make_signals
from alphatrade_pipelines.models.explaining import Reasons
from alphatrade_pipelines.reasons import reasons_of, render
from alphatrade_pipelines.settings import Settings
from alphatrade_pipelines.trading.domain import ModelRef, Signal
from tests.models.conftest import train_planted
from tests.models.test_signals import CALENDAR, real_sessions


@pytest.fixture(scope="module")
def result() -> TrainingResult:
    return train_planted()[0]


def asked(bundle: Bundle, **changes: object) -> SimpleNamespace:
    features, bars = real_sessions(3)
    signal: Signal = make_signals(bundle, features, bars, CALENDAR, "7")[0]
    model = ModelRef("alphatrade", "7", bundle.content_hash, "run", "dagster", "data", "commit", "paper")
    return SimpleNamespace(signal=replace(signal, **changes), model=model)


def text(found: Reasons | str) -> str:
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(render(found))
    return captured.get()


def test_the_strongest_features_of_the_traded_prediction_are_shown(result: TrainingResult, tmp_path: Path) -> None:
    settings, bundle = Settings(home=tmp_path), result.bundle
    bundle.save(settings.folders.bundles / bundle.content_hash[:16])
    found = reasons_of(settings, asked(bundle))  # type: ignore[arg-type]
    assert isinstance(found, Reasons)
    shown = text(found)
    assert f"{found.margin:+.4f}" in shown
    assert "f0 = " in shown


def test_what_is_missing_or_differs_is_said(result: TrainingResult, tmp_path: Path) -> None:
    settings, bundle = Settings(home=tmp_path), result.bundle
    assert "found none" in text(reasons_of(settings, asked(bundle)))  # type: ignore[arg-type]
    folder = bundle.save(settings.folders.bundles / bundle.content_hash[:16])
    assert "not the prediction that was traded" in text(reasons_of(settings, asked(bundle, probability=0.9)))  # type: ignore[arg-type]
    assert "no prediction" in text(reasons_of(settings, SimpleNamespace(signal=None, model=None)))  # type: ignore[arg-type]
    assert "no f1" in text(reasons_of(settings, asked(bundle, features=(("f0", 1.0), ("f2", 1.0)))))  # type: ignore[arg-type]
    (folder / "sizing.json").write_bytes(b"{}")
    assert "refused: sizing.json" in text(reasons_of(settings, asked(bundle)))  # type: ignore[arg-type]
