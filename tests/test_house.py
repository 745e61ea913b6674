"""Rules of the house that no single room can keep."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("cwd", [ROOT, ROOT / "mlflow"])
def test_import_mlflow_is_the_library(cwd: Path) -> None:
    """The folder mlflow/ must never shadow the package, wherever Python is started."""
    code = "import mlflow; assert hasattr(mlflow, 'start_run'), mlflow; print(mlflow.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "site-packages" in done.stdout


def test_mlflow_folder_is_not_a_package() -> None:
    assert not (ROOT / "mlflow" / "__init__.py").exists()


def test_wheel_holds_exactly_the_four_packages() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert 'packages = ["alphatrade_pipelines", "assets", "sensors", "jobs"]' in text


def test_locks_name_no_download_host_and_hash_everything() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text, f"{name} names an address"
        pins = re.findall(r"^[A-Za-z0-9_.\[\]-]+==", text, re.MULTILINE)
        blocks = re.split(r"^(?=[A-Za-z0-9_.\[\]-]+==)", text, flags=re.MULTILINE)[1:]
        assert len(pins) == len(blocks) > 100
        assert all("--hash=sha256:" in block for block in blocks)


def test_no_path_of_one_machine_in_the_repository() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    offenders = []
    for name in tracked:
        path = ROOT / name
        if path.suffix in {".png", ".lock"} or not path.is_file():
            continue
        if re.search(r"(?<![\w.])/(work|root|home/\w+)/", path.read_text(encoding="utf-8", errors="replace")):
            offenders.append(name)
    assert offenders in ([], ["tests/test_house.py"])
