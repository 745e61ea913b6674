"""When a retrain is worth its while: what grows, what was seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphatrade_pipelines import research
from alphatrade_pipelines.settings import load_settings


@pytest.mark.parametrize(("source", "skips"), [("sample", True), ("synthetic", True), ("files", False), ("alpaca", False)])
def test_only_a_source_that_never_grows_lets_the_night_be_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, skips: bool
) -> None:
    monkeypatch.setattr(research, "trained_on_all", lambda settings: "champion 3 was trained on exactly these bars")
    settings = load_settings(home=tmp_path, market={"source": source, "files": {"path": tmp_path}})
    assert bool(research.nothing_new_to_learn(settings)) is skips


def test_nothing_is_skipped_before_the_first_champion(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    assert research.nothing_new_to_learn(settings) == ""
    assert not research.staleness_finding(settings).fires
    assert not research.drift_finding(settings).fires
