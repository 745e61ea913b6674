"""Start Dagster (webserver and daemon) and MLflow on loopback, with their state under ``home`` and nothing calling home."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from alphatrade_pipelines.settings import Settings, project_root

HOST = "127.0.0.1"

_DAGSTER_YAML = """\
# written by alphatrade at every start; change the settings, not this file
telemetry:
  enabled: false
nux:
  enabled: false
run_monitoring:
  enabled: true
  poll_interval_seconds: 15
  start_timeout_seconds: 180
  cancel_timeout_seconds: 180  # a live session may need this long to leave every position protected or flat
  max_resume_run_attempts: 0
  free_slots_after_run_end_seconds: 10
run_retries:
  enabled: true
  max_retries: 0  # a trader is never restarted without a person or the watchdog deciding so
concurrency:
  pools:
    granularity: run
    default_limit: 1
  runs:
    max_concurrent_runs: 4
    tag_concurrency_limits:
      - key: "alphatrade/live"
        value:
          applyLimitPerUniqueValue: true
        limit: 1
"""

_POSTGRES_YAML = """\
storage:
  postgres:
    postgres_url:
      env: ALPHATRADE_SERVERS__DAGSTER_POSTGRES_URL
"""


class ServerError(RuntimeError):
    """A server could not be started; the message says which, why and what to do."""


def quiet_environment() -> dict[str, str]:
    """Switches that keep Dagster, MLflow and Great Expectations from sending anything anywhere."""
    return {
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "GX_ANALYTICS_ENABLED": "False",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        # nothing of ours runs inside the MLflow server; its job runners would be six idle processes
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def prepare_dagster_home(settings: Settings) -> Path:
    """Write ``dagster.yaml`` under ``home`` and point this process (and its children) at it. Returns DAGSTER_HOME."""
    folder = settings.folders.create().dagster
    text = _DAGSTER_YAML + (_POSTGRES_YAML if settings.servers.dagster_postgres_url else "")
    target = folder / "dagster.yaml"
    if not target.exists() or target.read_text() != text:
        temporary = target.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(text)
        temporary.replace(target)
    os.environ.update(quiet_environment())
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ["ALPHATRADE_HOME"] = str(settings.home)
    # whatever asks MLflow for its default store must find ours, not make a new one in the working directory
    os.environ["MLFLOW_TRACKING_URI"] = settings.tracking_uri
    return folder


@dataclass
class Server:
    """One child process and how to see that it answers."""

    name: str
    command: list[str]
    url: str
    health: str
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self, cwd: Path, env: Mapping[str, str]) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command, cwd=cwd, env=dict(env), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def answers(self) -> bool:
        # loopback must not go through a proxy that the environment names
        try:
            with build_opener(ProxyHandler({})).open(self.health, timeout=2) as response:
                return bool(response.status == 200)
        except (URLError, OSError):
            return False

    def stop(self) -> None:
        """Ask the server to end by its id; insist after a grace period.

        Only the server itself is asked, not its process group: a live session launched from the UI is a grandchild, and closing a
        web page must not stop a trader. The caller tells the person when one is still running.
        """
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=5)


def _require_free(port: int, name: str, variable: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ServerError(f"port {port} for {name} is taken ({error}); stop what uses it or set {variable}") from error


def ui_servers(settings: Settings) -> list[Server]:
    """The servers behind ``alphatrade ui``; raises ``ServerError`` when a port is taken."""
    folders, ports = settings.folders.create(), settings.servers
    _require_free(ports.dagster_port, "Dagster", "ALPHATRADE_SERVERS__DAGSTER_PORT")
    dagster_url = f"http://{HOST}:{ports.dagster_port}"
    dagster = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "-w",
        str(project_root() / "workspace.yaml"),
        "-h",
        HOST,
        "-p",
        str(ports.dagster_port),
    ]
    servers = [Server("Dagster", dagster, dagster_url, f"{dagster_url}/server_info", folders.home / "logs" / "dagster.log")]
    if settings.tracking_uri.startswith(("http://", "https://")):
        return servers  # the team runs its own MLflow server
    _require_free(ports.mlflow_port, "MLflow", "ALPHATRADE_SERVERS__MLFLOW_PORT")
    mlflow_url = f"http://{HOST}:{ports.mlflow_port}"
    mlflow = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(ports.mlflow_port), "--workers", "1"]
    mlflow += ["--backend-store-uri", settings.tracking_uri, "--default-artifact-root", folders.mlflow_artifacts.as_uri()]
    servers.append(Server("MLflow", mlflow, mlflow_url, f"{mlflow_url}/health", folders.home / "logs" / "mlflow.log"))
    return servers


def run_until_stopped(
    servers: list[Server],
    settings: Settings,
    announce: Callable[[Server], Any],
    timeout_s: float = 180.0,
    wait: Callable[[], bool] | None = None,
) -> None:
    """Start every server, announce each once it answers, then block until SIGINT/SIGTERM (or ``wait`` returns False) and stop them all.

    Raises ``ServerError`` with the tail of the log when one dies or does not answer in time.
    """
    prepare_dagster_home(settings)
    stopping = False

    def stop(_signum: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for server in servers:
            server.start(project_root(), os.environ)
        waiting, deadline = list(servers), time.monotonic() + timeout_s
        while not stopping:
            for server in servers:
                if server.died():
                    raise ServerError(f"{server.name} ended by itself; last lines of {server.log}:\n{_tail(server.log)}")
            for server in [s for s in waiting if s.answers()]:
                waiting.remove(server)
                announce(server)
            if waiting and time.monotonic() > deadline:
                raise ServerError(
                    f"{waiting[0].name} did not answer within {timeout_s:.0f} s; see {waiting[0].log}:\n{_tail(waiting[0].log)}"
                )
            time.sleep(0.5)
    finally:
        for server in reversed(servers):
            server.stop()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else "(no log)"
