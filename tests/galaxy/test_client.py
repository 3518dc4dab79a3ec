"""The client against a real Galaxy: submit, go away, come back, and use what came back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import nbformat
import pytest

from gpulab.client import RemoteJob, RemoteJobError, WaitLimitError, run_script_job, tus, upload
from gpulab.client.galaxy import Galaxy
from gpulab.client.server import Server
from gpulab.client.tus import TusUpload
from gpulab.errors import InputError

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT / "test-data"
LIMIT = 600.0  # seconds for a job on a busy machine


def write_notebook(name: str, *cells: str, parameters: str = "") -> Path:
    """Write a notebook into the current folder, its first cell tagged `parameters`."""
    new = nbformat.v4
    code = [new.new_code_cell(source) for source in cells]
    if parameters:
        code.insert(0, new.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    notebook = new.new_notebook(cells=code)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "x", "language": "python"}
    path = Path(name)
    nbformat.write(notebook, path)
    return path


def run(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a Python process of its own."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def gpulab(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return run("-m", "gpulab.client", *arguments, environment=environment)


COME_BACK = """
import sys
from gpulab.client import RemoteJob
job = RemoteJob.from_id(sys.argv[1])
print(job.wait(progress=False, timeout=600))
for name, path in job.download("results", progress=False).items():
    print(name, path)
"""


def test_submit_go_away_come_back_and_predict(galaxy: Galaxy, environment: dict[str, str]) -> None:
    began = time.monotonic()
    submitted = gpulab(
        "submit",
        str(DATA / "notebooks" / "train_masks.ipynb"),
        f"--data=data/train.h5={DATA / 'part_train.h5'}",
        f"--data=data/valid.h5={DATA / 'part_valid.h5'}",
        "--parameter=epochs=2",
        "--parameter=filters=4",
        "--history=CT run",
        environment=environment,
    )
    assert submitted.returncode == 0, submitted.stderr
    assert time.monotonic() - began < 60
    job = RemoteJob.from_id(submitted.stdout.strip())
    assert not job.status().finished  # it returned before the job was done
    assert galaxy.histories.show_history(job.history_id)["name"] == "CT run"
    assert job.history_url in submitted.stderr

    came_back = run("-c", COME_BACK, job.id, environment=environment)
    assert came_back.returncode == 0, came_back.stderr
    results = Path("results")
    executed = nbformat.read(results / "executed.ipynb", as_version=4)
    assert "filters = 4" in "".join(cell.source for cell in executed.cells)
    assert (results / "page.html").read_text().lstrip().lower().startswith("<!doctype html")
    assert (results / "report.md").read_text().startswith("#")
    assert [path.name for path in (results / "models").iterdir()] == ["model.onnx"]
    assert any(path.suffix == ".png" for path in (results / "figures").iterdir())
    assert (results / "arrays.h5").read_bytes()[:4] == b"\x89HDF"
    assert "cell" in (results / "log.txt").read_text()
    assert not list(results.rglob(".*")) and not list(results.rglob("*.part"))

    history = job.history_id
    images = upload.Uploader(galaxy, "", history, show=False)
    predicted = galaxy.tools.run_tool(
        history,
        "unet_predict",
        {
            "models": {"src": "hda", "id": images.bring(results / "models" / "model.onnx")},
            "images|kind": "h5",
            "images|image_file": {"src": "hda", "id": images.bring(DATA / "part_test.h5")},
            "outputs": ["figure"],
        },
    )
    finished = RemoteJob(galaxy, predicted["jobs"][0]["id"])
    finished.wait(progress=False, timeout=LIMIT)
    masks = finished.download("masks", progress=False)
    assert masks["masks"].read_bytes()[:4] == b"\x89HDF"
    assert "pooled" in masks["metrics"].read_text()


def test_original_call(environment: dict[str, str]) -> None:
    Path("h5_datasets").mkdir()
    source = DATA / "part_test.h5"
    Path("h5_datasets/combined.h5").write_bytes(source.read_bytes())
    notebook = write_notebook(
        "4_train.ipynb",
        "import h5py\nprint(sorted(h5py.File('h5_datasets/combined.h5')))",
        "assert GALAXY_INPUTS['h5_datasets/combined.h5'] == 'h5_datasets/combined.h5'",
    )
    job = run_script_job(
        str(notebook),
        data_dict=["h5_datasets/combined.h5"],
        server=environment["GALAXY_SERVER"],
        key=environment["GALAXY_API_KEY"],
        new_history_name="CT_segmentation_march_18",
    )
    assert job.wait(progress=False, timeout=LIMIT).state == "ok"
    assert "'images'" in job.download("r", progress=False)["executed"].read_text()
    # The original left this behind in the user's folder.
    assert not Path("extracted_code.py").exists()


def test_values_and_files_arrive_as_they_are() -> None:
    odd = '5\'; rm -rf / #\n$HOME "ü" {{x}} __sq__ \\'
    content = b"a,b\r\n1,2\r\nno end of line"
    Path("odd name's,data.csv").write_bytes(content)
    notebook = write_notebook(
        "values.ipynb",
        "import json, hashlib\nfrom pathlib import Path",
        'data = Path("odd name\'s,data.csv").read_bytes()\n'
        "Path('outputs').mkdir(exist_ok=True)\n"
        "seen = dict(text=text, number=number, rate=rate, flag=flag, layers=layers, none=none,\n"
        "            digits=digits, data=hashlib.sha256(data).hexdigest(), names=GALAXY_INPUTS)\n"
        "Path('outputs/seen.json').write_text(json.dumps(seen))",
        parameters="text = digits = ''\nnumber = rate = 0\nflag = False\nlayers = []\nnone = 1",
    )
    values: dict[str, Any] = {
        "text": odd,
        "digits": "007",
        "number": -3,
        "rate": 1e-05,
        "flag": True,
        "layers": [16, {"a": None}],
        "none": None,
    }
    job = run_script_job(
        notebook,
        ["odd name's,data.csv"],
        parameters=values,
        aliases={"odd name's,data.csv": "https://example.org/data.csv?x=1"},
        new_history_name="values",
        progress=False,
    )
    job.wait(progress=False, timeout=LIMIT)
    seen = json.loads((job.download("r", progress=False)["files"] / "seen.json").read_text())
    assert seen.pop("data") == hashlib.sha256(content).hexdigest()
    assert seen.pop("names")["https://example.org/data.csv?x=1"] == "odd name's,data.csv"
    assert seen == values


def test_failed_job(environment: dict[str, str]) -> None:
    notebook = write_notebook(
        "fails.ipynb",
        "from pathlib import Path\nPath('outputs/kept.txt').write_text('kept')\nanswer = 42",
        "def broken():\n    raise ValueError('the reason of the failure')\nbroken()",
        "print('never')",
    )
    job = run_script_job(notebook, new_history_name="fails", progress=False)
    with pytest.raises(RemoteJobError, match="ValueError: the reason of the failure") as caught:
        job.wait(progress=False, timeout=LIMIT)
    assert "broken()" in caught.value.traceback and "\x1b" not in caught.value.traceback
    assert (caught.value.job_id, caught.value.state) == (job.id, "error")
    found = job.download("r", progress=False)
    assert "the reason of the failure" in found["executed"].read_text()
    assert found["page"].stat().st_size > 0 and found["log"].stat().st_size > 0
    assert (found["files"] / "kept.txt").read_text() == "kept"
    with h5py.File(found["arrays"]) as arrays:
        assert arrays["answer"][()] == 42
    told = gpulab("status", job.id, environment=environment)
    assert told.returncode == 1 and told.stdout.startswith("error: the job failed")
    log = gpulab("log", job.id, environment=environment)
    assert "ValueError" in log.stdout


def test_progress_wait_limit_and_cancel(environment: dict[str, str]) -> None:
    notebook = write_notebook(
        "long.ipynb",
        "import time",
        "for number in range(600):\n    print('round', number, flush=True)\n    time.sleep(1)",
    )
    job = run_script_job(notebook, new_history_name="long", progress=False)
    with pytest.raises(WaitLimitError, match="it goes on"):
        job.wait(progress=False, timeout=0)
    deadline = time.monotonic() + LIMIT
    while not (status := job.status()).progress.line.startswith("round"):
        assert time.monotonic() < deadline and not status.finished, status
        time.sleep(1)
    assert (status.progress.cell, status.progress.cells) == (2, 2)
    assert "cell 2 of 2" in job.log() and "round" in job.log()
    with pytest.raises(InputError, match="is not done"):
        job.download("r")
    cancelled = gpulab("cancel", job.id, environment=environment)
    assert (cancelled.returncode, cancelled.stdout) == (0, "cancelled\n")
    with pytest.raises(RemoteJobError, match="cancelled") as caught:
        job.wait(progress=False, timeout=LIMIT)
    assert caught.value.state in ("deleting", "deleted")
    assert job.cancel() is False


def test_second_submission_sends_nothing_again(
    galaxy: Galaxy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(200_000)
    Path("big.h5").write_bytes((DATA / "part_test.h5").read_bytes() + content)
    notebook = write_notebook("first.ipynb", "print(1)")
    first = run_script_job(notebook, ["big.h5"], new_history_name="first")
    assert "big.h5: is on the server already" not in capsys.readouterr().err
    first.wait(progress=False, timeout=LIMIT)
    sent = []
    real = TusUpload.send
    monkeypatch.setattr(
        TusUpload, "send", lambda self, progress: sent.append(1) or real(self, progress)
    )
    Path("big.h5").rename("other_name.h5")
    second = run_script_job(notebook, {"big.h5": "other_name.h5"}, new_history_name="second")
    assert sent == []
    assert "other_name.h5: is on the server already" in capsys.readouterr().err
    assert second.history_id != first.history_id
    inputs = second.details()["inputs"]
    for reference in inputs.values():
        dataset = galaxy.datasets.show_dataset(reference["id"])
        assert dataset["history_id"] == second.history_id
    # In a history of the user's choice, too; the notebook is a dataset of its own each time.
    third = run_script_job(notebook, {"big.h5": "other_name.h5"}, history_id=second.history_id)
    third.cancel()
    assert third.history_id == second.history_id and sent == []
    used = [{ref["id"] for ref in job.details()["inputs"].values()} for job in (second, third)]
    assert len(used[0] & used[1]) == 1  # the data
    # A file that differs by one byte is another file.
    *same, last = Path("other_name.h5").read_bytes()
    Path("other_name.h5").write_bytes(bytes([*same, last ^ 1]))
    upload.Uploader(galaxy, "", second.history_id, show=False).bring(Path("other_name.h5"))
    assert sent == [1]


def test_upload_goes_on_in_another_run(galaxy: Galaxy, monkeypatch: pytest.MonkeyPatch) -> None:
    class StoppedError(Exception):
        pass

    def stop(size: int) -> None:
        if size >= 12_000_000:
            raise StoppedError

    monkeypatch.setattr(tus, "PIECE", 1_000_000)
    path = Path("large.h5")
    path.write_bytes((DATA / "part_test.h5").read_bytes() + os.urandom(20_000_000))
    digest = upload.sha256_of(path)
    with pytest.raises(StoppedError):
        TusUpload(galaxy, path, digest, "user").send(stop)
    seen: list[int] = []
    session = TusUpload(galaxy, path, digest, "user").send(seen.append)
    assert seen[0] == 12_000_000
    history = galaxy.histories.create_history("resumed")["id"]
    payload = upload.fetch_payload(history, path.name, "h5", session, digest, "mark")
    made = galaxy.tools._post(payload, url=f"{galaxy.url}/tools/fetch")["outputs"][0]["id"]
    # Galaxy compares the hash of what arrived: a wrong byte would end in an error.
    galaxy.datasets.wait_for_dataset(made, maxwait=LIMIT, interval=1)
    found = galaxy.datasets.show_dataset(made)
    assert (found["state"], found["file_size"]) == ("ok", path.stat().st_size)


def test_file_that_came_by_other_ways_is_known(galaxy: Galaxy) -> None:
    history = galaxy.histories.create_history("by other ways")["id"]
    path = Path("mine.h5")
    path.write_bytes((DATA / "part_test.h5").read_bytes() + os.urandom(1000))
    made = galaxy.tools.upload_file(str(path), history, file_type="h5")["outputs"][0]["id"]
    galaxy.datasets.wait_for_dataset(made, maxwait=LIMIT, interval=1)
    assert galaxy.datasets.show_dataset(made)["tags"] == []
    assert upload.find_known(galaxy, path, upload.sha256_of(path), "h5") == made
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert upload.find_known(galaxy, path, upload.sha256_of(path), "h5") == ""


def test_damaged_upload_pauses_the_job(galaxy: Galaxy, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("data.h5").write_bytes((DATA / "part_test.h5").read_bytes() + os.urandom(1000))
    notebook = write_notebook("n.ipynb", "print(1)")
    real = upload.sha256_of
    # As if a byte had changed on the way: Galaxy compares what arrived with this hash.
    monkeypatch.setattr(
        upload, "sha256_of", lambda path: "0" * 64 if path.suffix == ".h5" else real(path)
    )
    job = run_script_job(notebook, ["data.h5"], new_history_name="damaged", progress=False)
    with pytest.raises(RemoteJobError, match=r"paused: its input 'data\.h5'") as caught:
        job.wait(progress=False, timeout=LIMIT)
    assert caught.value.state == "paused"
    assert job.status().kind == "paused"
    assert job.cancel() is True


def test_tool_that_is_not_installed() -> None:
    notebook = write_notebook("n.ipynb", "print(1)")
    for name in ("run_jupyter_jobs", "toolshed.example/repos/a/b/run_jupyter_job/1.0"):
        with pytest.raises(InputError, match=r"is not installed on .*: installed are .*run_jup"):
            run_script_job(notebook, tool_name=name)
    with pytest.raises(InputError, match="with another form"):
        run_script_job(notebook, tool_name="unet_predict")


def test_wrong_key_and_unknown_jobs(place: Server) -> None:
    with pytest.raises(InputError, match="does not accept the API key"):
        RemoteJob.from_id("0123456789abcdef", place.url, "0" * 32)
    with pytest.raises(InputError, match="The server refuses reading the job"):
        RemoteJob.from_id("0123456789abcdef", place.url, place.key)


KEY_HUNT = """
import logging, pickle, sys
logging.basicConfig(level=logging.DEBUG)
from gpulab.client import run_script_job
job = run_script_job("hunt.ipynb", ["data.csv"], new_history_name="hunt")
print(job, repr(job), vars(job), job.details())
try:
    pickle.dumps(job)
except TypeError as error:
    print(error)
else:
    sys.exit("a job was written")
try:
    run_script_job("hunt.ipynb", ["data.csv"], tool_name="none")
except Exception:
    logging.exception("refused")
print(job.wait(timeout=600))
print(job.log())
job.download("results")
print(job.id)
"""


def test_key_is_nowhere(galaxy: Galaxy, place: Server, environment: dict[str, str]) -> None:
    Path("data.csv").write_text(f"a,b\n{time.time()},2\n")
    write_notebook("hunt.ipynb", "import os\nprint(dict(os.environ))", "%env")
    done = run("-c", KEY_HUNT, environment=environment)
    assert done.returncode == 0, done.stderr
    secret = place.key.encode()
    assert place.key not in done.stdout + done.stderr
    assert "DEBUG" in done.stderr  # the libraries did tell all that they tell
    files = [path for path in Path.cwd().parent.rglob("*") if path.is_file()]
    assert any(path.name == "executed.ipynb" for path in files)
    assert [path for path in files if secret in path.read_bytes()] == []
    job = RemoteJob.from_id(done.stdout.split()[-1])
    contents = galaxy.histories.show_history(job.history_id, contents=True, details="all")
    assert place.key not in json.dumps(contents) + json.dumps(job.details())


def test_notebooks_of_the_tutorial(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import papermill

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    Path("h5_datasets").mkdir()
    shutil.copy(DATA / "combined.h5", "h5_datasets/combined_CT_datasets.h5")
    for name in ("4_train_remotely.ipynb", "5_submit.ipynb", "6_predict_remote_model.ipynb"):
        shutil.copy(ROOT / "docs" / "notebooks" / name, name)
    options: dict[str, Any] = {"kernel_name": "python3", "progress_bar": False}
    parameters = {"epochs": 2, "history_name": "tutorial"}
    ran = papermill.execute_notebook("5_submit.ipynb", "5.ipynb", parameters, **options)
    assert environment["GALAXY_API_KEY"] not in nbformat.writes(ran)
    assert Path("remote_results/models/model.onnx").stat().st_size > 10_000
    papermill.execute_notebook("6_predict_remote_model.ipynb", "6.ipynb", **options)
    assert "pooled" in Path("predicted/metrics.tabular").read_text()


def test_notebook_that_folds(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    import papermill

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copy(ROOT / "docs" / "notebooks" / "7_fold.ipynb", "7_fold.ipynb")
    parameters = {"name": "short", "sequence": "MKLVINGDEW", "models": 1, "recycles": 0}
    options: dict[str, Any] = {"kernel_name": "python3", "progress_bar": False}
    ran = papermill.execute_notebook("7_fold.ipynb", "7.ipynb", parameters, **options)
    text = nbformat.writes(ran)
    assert environment["GALAXY_API_KEY"] not in text
    assert text.count("image/png") >= 3
    scores = Path("folded/scores.tsv").read_text().splitlines()
    # The stand-in weights of the local Galaxy say 61 of every residue in the first network.
    assert "61" in scores[1].split("\t")[scores[0].split("\t").index("mean_plddt")]
    assert list(Path("folded/best").glob("*.pdb"))
