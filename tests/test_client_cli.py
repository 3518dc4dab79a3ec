"""The command `gpulab`, as a process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpulab.client.cli import read_data, read_key
from gpulab.errors import InputError

KEY = "0123456789abcdef0123456789abcdef"
ROOT = Path(__file__).parent.parent


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "gpulab.client", *arguments],
        env=environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["submit", "--help"], ["fetch", "--help"]])
def test_help_is_quick(arguments: list[str]) -> None:
    began = time.monotonic()
    done = run(*arguments)
    assert done.returncode == 0 and "usage: gpulab" in done.stdout
    assert time.monotonic() - began < 1


def test_help_names_the_exit_codes() -> None:
    assert "2 an input cannot be used" in run("--help").stdout


def test_entry_point_of_the_package() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"gpulab": "gpulab.client.cli:main"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["submit", "none.ipynb"], "No Galaxy server is named"),
        (["submit", "none.ipynb", "--server", "https://a.example"], "There is no API key"),
        (["submit", "a.ipynb", "--parameter", "x"], "A parameter is written name=value"),
        (["submit", "a.ipynb", "--data", "/abs.h5"], "say where the notebook looks for it"),
        (["submit", "a.ipynb", "--data", "a=1", "--data", "a=2"], "'a' stands twice"),
        (["submit", "a.ipynb", "--parameter", "a=1", "--parameter", "a=2"], "stands twice"),
        (["submit", "a.ipynb", "--alias", "x"], "--alias is written PATH=NAME"),
        (["status", "../../users"], "is no id of a Galaxy job"),
        (["fetch", "0123456789abcdef", "--key-file", "/none"], "cannot be read"),
    ],
)
def test_unusable_input_is_one_line(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_missing_notebook(tmp_path: Path) -> None:
    done = run("submit", "none.ipynb", GALAXY_URL="https://a.example", API_KEY=KEY)
    assert done.returncode == 2
    assert "There is no notebook or script 'none.ipynb'" in done.stderr
    assert KEY not in done.stderr


@pytest.mark.parametrize("arguments", [["--key", KEY], [f"--key={KEY}"]])
def test_key_is_no_option(arguments: list[str]) -> None:
    done = run("status", "0123456789abcdef", *arguments)
    assert done.returncode == 2
    assert "use GALAXY_API_KEY or --key-file" in done.stderr
    assert KEY not in done.stderr + done.stdout


def test_key_in_the_place_of_its_file() -> None:
    done = run("status", "0123456789abcdef", "--key-file", KEY)
    assert done.returncode == 2 and KEY not in done.stderr


def test_unencrypted_server_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    script = tmp_path / "a.py"
    script.write_text("print(1)")
    done = run("submit", str(script), GALAXY_URL="http://0.0.0.0:9", API_KEY=KEY)
    assert done.returncode == 3
    assert done.stderr.startswith("Please note: http://0.0.0.0:9 is not encrypted")
    assert KEY not in done.stderr


def test_key_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    assert read_key(path) == KEY
    path.write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        read_key(path)


def test_missing_libraries_are_told(tmp_path: Path) -> None:
    (tmp_path / "bioblend").mkdir()
    broken = "raise ModuleNotFoundError('no', name='bioblend')"
    (tmp_path / "bioblend" / "__init__.py").write_text(broken)
    done = run("status", "0123456789abcdef", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert done.returncode == 2
    assert done.stderr == (
        "The Python module bioblend is missing: pip install 'galaxy-gpu-lab[client]'\n"
    )


def test_data_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.h5").write_bytes(b"1")
    given = ["h5/big.h5", "x/y.h5=/data/z.h5", "a=b.h5", "x.h5=a=b.h5"]
    assert read_data(given) == {
        "h5/big.h5": "h5/big.h5",
        "x/y.h5": "/data/z.h5",
        "a=b.h5": "a=b.h5",
        "x.h5": "a=b.h5",
    }
