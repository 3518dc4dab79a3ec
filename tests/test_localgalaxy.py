"""The parts of localgalaxy that can be tested without a running Galaxy."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from localgalaxy import (
    demo,
    environments,
    folding,
    outcomes,
    scores,
    settings,
    testreport,
    tooltests,
)
from localgalaxy.console import LocalGalaxyError, Progress
from localgalaxy.paths import KEEPER, ROOT, data_manager_files
from localgalaxy.workflow_inputs import build_inputs

# A program that starts a child in a process group and session of its own, as Galaxy does with jobs,
# and one more whose parent goes away at once.
STUBBORN = """
import os, signal, subprocess, sys, time
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
orphan = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}])"
subprocess.run([sys.executable, "-c", orphan])
open(sys.argv[1], "w").write("ready")
time.sleep(600)
"""


def processes_with(marker: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def wait_until(condition: object, seconds: float = 30) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def marker(tmp_path: Path) -> str:
    return f"LOCALGALAXY_TEST={tmp_path}"


def start_keeper(parent: int, ready: Path, marker: str) -> subprocess.Popen[bytes]:
    name, value = marker.split("=", 1)
    keeper = subprocess.Popen(
        [sys.executable, "-I", KEEPER, str(parent), "0.5", sys.executable, "-c", STUBBORN, ready],
        env={**os.environ, name: value},
    )
    assert wait_until(ready.exists)
    return keeper


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_keeper_leaves_nothing_behind(number: int, tmp_path: Path, marker: str) -> None:
    keeper = start_keeper(os.getpid(), tmp_path / "ready", marker)
    assert len(processes_with(marker)) == 4
    keeper.send_signal(number)
    keeper.wait(timeout=30)
    assert processes_with(marker) == []


def test_keeper_ends_when_its_program_ends(tmp_path: Path, marker: str) -> None:
    keeper = start_keeper(os.getpid(), tmp_path / "ready", marker)
    program = min(set(processes_with(marker)) - {keeper.pid})
    os.kill(program, signal.SIGKILL)
    assert keeper.wait(timeout=30) != 0
    assert processes_with(marker) == []


def test_keeper_ends_when_its_parent_is_killed(tmp_path: Path, marker: str) -> None:
    ready = tmp_path / "ready"
    parent = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-I', {str(KEEPER)!r}, str(os.getpid()), '0.5',"
        f" sys.executable, '-c', {STUBBORN!r}, {str(ready)!r}])\n"
        "time.sleep(600)\n"
    )
    name, value = marker.split("=", 1)
    process = subprocess.Popen([sys.executable, "-c", parent], env={**os.environ, name: value})
    assert wait_until(ready.exists)
    process.kill()
    process.wait()
    assert wait_until(lambda: not processes_with(marker))


def test_variables_of_the_user_do_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("GALAXY_CONFIG_FILE", "/elsewhere/galaxy.yml")
    monkeypatch.setenv("UV_CACHE_DIR", "/elsewhere/cache")
    variables = environments.environment(ROOT / "venv", {"HOME": "/there"})
    assert "PYTHONPATH" not in variables
    assert "GALAXY_CONFIG_FILE" not in variables
    assert variables["UV_CACHE_DIR"] == "/elsewhere/cache"
    assert variables["HOME"] == "/there"
    assert variables["PATH"].startswith(f"{ROOT}/venv/bin{os.pathsep}")


def test_secrets_are_private_and_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SECRETS", tmp_path / "secrets.json")
    first, second = settings.make_secrets(), settings.make_secrets()
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert first["admin_key"] != second["admin_key"]
    assert first["id_secret"] == second["id_secret"]
    assert 5 <= len(first["id_secret"]) <= 56


def test_tests_are_shared_out_by_their_number() -> None:
    counts = {Path("c"): 3, Path("a"): 9, Path("d"): 1, Path("b"): 5}
    assert tooltests.share_out(counts, 2) == [[Path("a")], [Path("b"), Path("c"), Path("d")]]
    assert tooltests.share_out({Path("a"): 9}, 2) == [[Path("a")]]


def write_report(folder: Path, tests: list[object]) -> Path:
    report = folder / "tools-1.json"
    report.write_text(json.dumps({"tests": tests}), "utf-8")
    report.with_suffix(".log").write_text("planemo says something\n", "utf-8")
    return report


def test_failed_test_is_explained(tmp_path: Path) -> None:
    job = {"exit_code": 2, "state": "error", "stderr": "No masks", "command_line": "python x.py"}
    failed = {"status": "failure", "output_problems": ["Output table: differs"], "job": job}
    passed = {"status": "success", "time_seconds": 3.0}
    report = write_report(tmp_path, [{"id": "x-0", "data": passed}, {"id": "x-1", "data": failed}])
    good, bad = testreport.read_report(report, [ROOT / "x.xml"], 2)
    assert good.passed
    assert not bad.passed
    for text in ("Output table: differs", "exit code 2", "No masks", "python x.py"):
        assert text in bad.detail


def test_test_that_did_not_run_has_failed(tmp_path: Path) -> None:
    report = write_report(tmp_path, [{"id": "x-0", "data": {"status": "success"}}])
    found = testreport.read_report(report, [ROOT / "x.xml"], 2)
    assert [outcome.passed for outcome in found] == [True, False]
    assert "planemo says something" in found[1].detail


LOST_TEST = {
    "id": "x-0",
    "data": {
        "status": "error",
        "tool_id": "x",
        "job": None,
        "execution_problem": testreport.LOST,
    },
}
MORE_OF_X = [
    {"id": "x-1", "data": {"status": "failure", "tool_id": "x", "job": {}}},
    {"id": "x-1", "data": {"status": "success", "tool_id": "x"}},
]
OK_TEST = {"id": "x-0", "data": {"status": "success", "tool_id": "x"}}
FAILED_TEST = {"id": "y-0", "data": {"status": "failure", "tool_id": "y", "job": {}}}


def test_only_a_test_whose_history_was_lost_before_its_job_counts_as_lost(tmp_path: Path) -> None:
    def lost(*tests: object) -> list[bool]:
        report = write_report(tmp_path, list(tests))
        return [one.lost for one in testreport.read_report(report, [ROOT / "x.xml"], len(tests))]

    assert lost(LOST_TEST, FAILED_TEST) == [True, False]
    ran = {**LOST_TEST, "data": {**LOST_TEST["data"], "job": {"state": "error"}}}
    assert lost(ran, OK_TEST) == [False, False]


@pytest.mark.parametrize(("second", "passed"), [(OK_TEST, True), (LOST_TEST, False)])
def test_what_galaxy_lost_is_tested_once_more(
    second: dict[str, object],
    passed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs: list[list[str]] = []

    def run(_galaxy: object, lanes: list[list[Path]], reports: list[Path]) -> None:
        runs.append([path.stem for lane in lanes for path in lane])
        x = second if len(runs) > 1 else LOST_TEST
        answers = {"x": [x, MORE_OF_X[len(runs) - 1]], "y": [FAILED_TEST]}
        for lane, report in zip(lanes, reports, strict=True):
            tests = [test for path in lane for test in answers[path.stem]]
            report.write_text(json.dumps({"tests": tests}), "utf-8")
            report.with_suffix(".log").write_text("", "utf-8")

    monkeypatch.setattr(tooltests, "_run_lanes", run)
    monkeypatch.setattr(tooltests, "count_tests", lambda *_: 1)
    monkeypatch.setattr(tooltests, "REPORTS", tmp_path)
    monkeypatch.setattr(tooltests, "shown", str)
    found = tooltests.run_tests(None, [ROOT / "x.xml", ROOT / "y.xml"], "tools")  # type: ignore[arg-type]
    assert runs == [["x", "y"], ["x"]]
    # What failed the first time has failed, though it passes the second time.
    assert {o.name: o.passed for o in found} == {"x-0": passed, "x-1": False, "y-0": False}
    assert "so once more: x\n" in capsys.readouterr().out


def test_nothing_tested_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcomes.conclude([]) == 1
    assert outcomes.conclude([outcomes.Outcome("one", passed=True)]) == 0
    assert outcomes.conclude([outcomes.Outcome("one", passed=False)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 1 failed"


def test_pooled_scores_are_shown(tmp_path: Path) -> None:
    table = tmp_path / "scores.tsv"
    table.write_text("model\tsample\tdice\na\timage 1\t0.5\na\tpooled\t0.123456\n", "utf-8")
    assert scores.pooled_table(table).splitlines() == [
        "model  sample  dice",
        "a      pooled  0.1235",
    ]


WORKFLOW: dict[str, object] = {
    "steps": {
        "0": {"type": "data_input", "label": "Dataset"},
        "1": {
            "type": "parameter_input",
            "label": "Epochs",
            "tool_state": json.dumps({"parameter_type": "integer"}),
        },
        "2": {"type": "tool", "label": "Train"},
    }
}


def test_workflow_inputs_by_label() -> None:
    assert build_inputs(WORKFLOW, "abc", {"Epochs": "7"}) == {
        "Dataset": {"src": "hda", "id": "abc"},
        "Epochs": 7,
    }


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"Epochs": "x"}, "Epochs must be a number"), ({"Depth": "3"}, "no parameter “Depth”")],
)
def test_wrong_workflow_parameters(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(LocalGalaxyError, match=message):
        build_inputs(WORKFLOW, "abc", parameters)


def test_no_parameter_is_asked_that_the_workflow_lacks() -> None:
    definition = json.loads(demo.DEFAULT_WORKFLOW.read_text("utf-8"))
    build_inputs(definition, "abc", {"Epochs": "1", "Base filters": "4", "Batch size": "2"})


def test_progress_without_a_terminal_prints_what_changed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress()
    progress.show(["one: 1", "two: 1"])
    progress.show(["one: 2", "two: 1"])
    Progress(only_live=True).show(["nothing"])
    assert capsys.readouterr().out.splitlines() == ["one: 1", "two: 1", "one: 2"]


def test_rows_for_the_folding_tools_fill_every_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "CONFIG", tmp_path)
    tables = ElementTree.parse(folding.write_tables("http://127.0.0.1:1")).findall("table")
    assert len(tables) == 3
    for table in tables:
        columns = str(table.findtext("columns")).split(",")
        file = table.find("file")
        assert file is not None
        rows = Path(file.attrib["path"]).read_text("utf-8").splitlines()
        assert rows
        assert {len(row.split("\t")) for row in rows} == {len(columns)}


def test_data_managers_are_found_and_what_they_made_is_gone_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "CONFIG", tmp_path)
    monkeypatch.setattr(folding, "FETCHED", tmp_path / "fetched")
    (tmp_path / "fetched" / "old").mkdir(parents=True)
    managers = ElementTree.parse(folding.write_data_managers()).findall("data_manager")
    assert {Path(one.attrib["tool_file"]) for one in managers} == set(data_manager_files())
    assert list((tmp_path / "fetched").iterdir()) == []
    assert {one.attrib["id"] for one in managers} <= settings.TOOL_VENVS.keys()
