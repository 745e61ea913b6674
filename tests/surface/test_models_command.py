"""`alphatrade models` over a really trained home, and a person who moves the alias on a real MLflow server while a session trades."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from alphatrade_pipelines import bootstrap, servers, trader
from alphatrade_pipelines.cli import app
from alphatrade_pipelines.models import ProfileTooWeakError
from alphatrade_pipelines.models._mlflow import store
from alphatrade_pipelines.models.gate import Criterion, GateReport
from alphatrade_pipelines.research import champions, promoting, tracking
from alphatrade_pipelines.settings import Settings
from alphatrade_pipelines.trader import SessionPlan
from alphatrade_pipelines.trading.codec import decode_event, encode_event
from alphatrade_pipelines.trading.events import ModelSwapped
from assets.links import mlflow_links
from tests.surface.house import settings_of


def printed(home: Path, *arguments: str) -> str:
    outcome = CliRunner().invoke(app, list(arguments), env={"ALPHATRADE_HOME": str(home), "COLUMNS": "200"})
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def test_versions_profiles_reasons_and_the_trail(trained_home: Path) -> None:
    text = printed(trained_home, "models")
    assert "challenger champion" in text
    assert "paper" in text
    assert "deflated_sharpe is" in text, "why it is not good enough for real money"
    assert "version 1 promoted by the gate" in text
    assert "Dagster run" in text


def test_one_version_with_lineage_criteria_and_figures(trained_home: Path) -> None:
    text = printed(trained_home, "models", "show", "1")
    for wanted in ("dagster.run_id", "data_hash", "gate paper: passed", "gate live: refused", "pbo", "backtest_paths_sharpe_mean"):
        assert wanted in text, wanted


def test_an_empty_home_is_told_what_to_do_and_stays_empty(tmp_path: Path) -> None:
    assert "run the job retrain" in printed(tmp_path / "home", "models")
    assert not (tmp_path / "home" / "mlflow" / "mlflow.db").exists()


@pytest.fixture
def served(own_home: Path) -> Iterator[Settings]:
    """A real MLflow server over a copy of the trained home; the house knows it by its address alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    local = settings_of(own_home, servers={"mlflow_port": port})
    (server,) = [one for one in servers.ui_servers(local) if one.name == "MLflow"]
    server.start(own_home, {**servers.os.environ, **servers.quiet_environment()})
    try:
        deadline = servers.time.monotonic() + 120
        while not server.answers():
            assert not server.died(), server.log.read_text()[-3000:]
            assert servers.time.monotonic() < deadline, server.log.read_text()[-3000:]
            servers.time.sleep(0.5)
        yield settings_of(own_home, servers={"mlflow_port": port, "mlflow_tracking_uri": server.url})
    finally:
        server.stop()


def move_alias_in_the_page(settings: Settings, version: str) -> None:
    """What MLflow's page sends when a person picks another version for an alias."""
    body = json.dumps({"name": settings.model.name, "alias": "champion", "version": version}).encode()
    address = f"{settings.tracking_uri}/ajax-api/2.0/mlflow/registered-models/alias"
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
        assert response.status == 200


def test_a_person_moves_the_alias_and_the_session_follows_but_never_below_its_profile(
    served: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trader, "LOOK_FOR_NEW_CHAMPION_S", 0.0)
    models = tracking.registry(served)
    first = models.champion()
    assert first is not None
    # a second version of the same bundle, judged for real money too
    again = models._client.create_model_version(
        first.name, source=first.source, run_id=first.run_id, tags=dict(first.tags), model_id=first.source.split("/")[-1]
    )
    second = str(again.version)
    for profile in ("paper", "live"):
        models.record_report(second, GateReport(profile, (Criterion("ece", 0.01, "<=", 0.02, True),)))
    in_sim, for_real = (trader._champion_watcher(served, SessionPlan(mode, f"run-{mode}")) for mode in ("sim", "live"))
    _, trading = champions.champion_to_trade(served, "sim", "session run-sim")
    assert trading.version == first.version
    assert "promoted by the gate" in trading.promotion
    assert in_sim(trading) is None

    move_alias_in_the_page(served, second)
    found = in_sim(trading)
    assert found is not None
    assert found[1].version == second
    assert "moved outside the gate" in found[1].promotion
    assert "noticed by session run-sim" in found[1].promotion
    event = ModelSwapped(models.version(second).created, found[1])
    assert decode_event(encode_event(event)) == event
    real = for_real(trading)
    assert real is not None, "the second version passed the live gate"

    move_alias_in_the_page(served, first.version)
    assert for_real(real[1]) is None, "real money does not follow to a version that passed only paper"
    with pytest.raises(ProfileTooWeakError, match="passed the live gate"):
        champions.champion_to_trade(served, "live", "a new session")
    told = [(change.version, change.how) for change in models.trail()]
    assert told == [(first.version, "gate"), (second, "outside"), (first.version, "outside")]


def test_a_version_for_paper_does_not_take_the_place_of_one_for_real_money(own_home: Path) -> None:
    settings = settings_of(own_home)
    models = tracking.registry(settings)
    first = models.champion()
    assert first is not None
    models.record_report(first.version, GateReport("live", (Criterion("ece", 0.01, "<=", 0.02, True),)))
    with store(settings.tracking_uri):
        second = models._client.create_model_version(
            first.name, source=first.source, run_id=first.run_id, tags=dict(first.tags), model_id=first.source.split("/")[-1]
        )
    metrics = {**models.metrics(first), "no_look_ahead": 1.0}
    decision = promoting.decide_promotion(settings, str(second.version), metrics)
    assert (decision.profile, decision.champion) == ("paper", first.version)
    assert f"passed only the paper gate; champion stays {first.version}" in decision.headline
    assert champions.champion_to_trade(settings, "live", "a session")[1].version == first.version


def test_dagster_and_mlflow_lead_to_each_other(served: Settings) -> None:
    models = tracking.registry(served)
    version = models.champion()
    assert version is not None
    links = mlflow_links(served, version.run_id, version.version)
    assert str(links["mlflow_run"].value).endswith(f"/runs/{version.run_id}")
    assert str(links["mlflow_version"].value).endswith(f"/#/models/{version.name}/versions/1")
    assert all(isinstance(link, dg.UrlMetadataValue) for link in links.values()), "links to click"
    run = models._client.get_run(version.run_id)
    page = bootstrap.dagster_page(served, version.tags["dagster.run_id"])
    assert run.data.tags["dagster.url"] == page
    assert f"]({page})" in run.data.tags["mlflow.note.content"], "MLflow's page shows it as a link"
    silent = mlflow_links(settings_of(served.home, servers={"mlflow_port": 1}), version.run_id, "1")
    assert version.run_id in str(silent["mlflow_run"].value)


def test_mlflow_down_leaves_the_session_with_its_model_and_the_command_with_a_reason(
    trained_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trader, "LOOK_FOR_NEW_CHAMPION_S", 0.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    _, trading = champions.champion_to_trade(settings_of(trained_home), "sim", "session 1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        gone = settings_of(trained_home, servers={"mlflow_tracking_uri": address})
        assert trader._champion_watcher(gone, SessionPlan("sim", "run"))(trading) is None
        outcome = CliRunner().invoke(
            app, ["models"], env={"ALPHATRADE_HOME": str(trained_home), "ALPHATRADE_SERVERS__MLFLOW_TRACKING_URI": address}
        )
    assert outcome.exit_code != 0
    assert "MLflow failed while" in str(outcome.exception)
