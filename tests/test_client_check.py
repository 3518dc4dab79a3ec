"""What is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from gpulab.client.check import check_data, check_script
from gpulab.client.submit import run_script_job
from gpulab.errors import InputError

KEY = "0123456789abcdef0123456789abcdef"
# An address at which nobody listens: a check that came too late would try it.
NOWHERE = "http://127.0.0.1:9"


def write_notebook(path: Path, *cells: tuple[str, list[str]], language: str = "python") -> Path:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source, metadata={"tags": t}) for source, t in cells]
    )
    notebook.metadata["kernelspec"] = {"name": "k", "display_name": "K", "language": language}
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    return write_notebook(
        tmp_path / "train.ipynb", ("epochs = 1\nrate: float = 0.1", ["parameters"]), ("1", [])
    )


def test_good_notebook_and_script(notebook: Path, tmp_path: Path) -> None:
    assert check_script(notebook, ["epochs", "rate"], KEY).datatype == "ipynb"
    script = tmp_path / "train.py"
    script.write_text("print(1)")
    assert check_script(script, [], KEY).kind == "script"


def test_original_call_checks_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no notebook or script"):
        run_script_job(str(tmp_path / "none.ipynb"), ["a.h5"], NOWHERE, KEY, "name", "tool")


def test_missing_data_is_told_before_connecting(notebook: Path) -> None:
    with pytest.raises(InputError, match=r"There is no file 'missing\.h5'"):
        run_script_job(notebook, ["missing.h5"], NOWHERE, KEY)


def test_bad_settings_are_told_before_connecting(notebook: Path) -> None:
    with pytest.raises(InputError, match="cell_minutes"):
        run_script_job(notebook, None, NOWHERE, KEY, cell_minutes=-1)
    with pytest.raises(InputError, match="failure"):
        run_script_job(notebook, None, NOWHERE, KEY, failure="ignore")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"No data has the path 'x\.h5'"):
        run_script_job(notebook, None, NOWHERE, KEY, aliases={"x.h5": "https://a.example/x.h5"})


def test_unknown_parameter(notebook: Path) -> None:
    with pytest.raises(InputError, match=r"no parameter 'epoch'.*epochs, rate"):
        check_script(notebook, ["epoch"], KEY)


def test_no_tagged_cell(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "a.ipynb", ("epochs = 1", []))
    with pytest.raises(InputError, match="has the tag 'parameters'"):
        check_script(path, ["epochs"], KEY)


@pytest.mark.parametrize("content", [b"", b"not JSON", b"{}", b"[1]", b"\xff\xfe\x00"])
def test_what_is_no_notebook(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.ipynb"):
        check_script(path, [], KEY)


def test_other_language(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "a.ipynb", ("1", []), language="R")
    with pytest.raises(InputError, match="'R'"):
        check_script(path, [], KEY)


@pytest.mark.parametrize("content", [b"", b"\0\1", b"\xff\xfe"])
def test_what_is_no_script(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.py"):
        check_script(path, [], KEY)


def test_key_in_the_code(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "a.ipynb", (f"API_KEY = '{KEY}'", []))
    with pytest.raises(InputError, match=r"Your API key stands in a\.ipynb") as caught:
        check_script(path, [], KEY)
    assert KEY not in str(caught.value)


def test_key_in_an_output(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "a.ipynb", ("%env", []))
    content = nbformat.read(path, as_version=4)
    content.cells[0].outputs = [nbformat.v4.new_output("stream", text=f"API_KEY={KEY}")]
    nbformat.write(content, path)
    with pytest.raises(InputError, match="clear the cell's output"):
        check_script(path, [], KEY)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "h5_datasets"
    folder.mkdir()
    (folder / "a.h5").write_bytes(b"a")
    (folder / "b.h5").write_bytes(b"b")
    monkeypatch.chdir(tmp_path)
    return folder


def test_list_keeps_its_paths(data: Path, tmp_path: Path) -> None:
    placed = check_data(["h5_datasets/a.h5", "./h5_datasets/b.h5"], None, tmp_path)
    assert list(placed) == ["h5_datasets/a.h5", "h5_datasets/b.h5"]


def test_path_relative_to_the_notebook(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    placed = check_data(["h5_datasets/a.h5"], None, data.parent)
    assert placed["h5_datasets/a.h5"].read_bytes() == b"a"


def test_dictionary_and_paths(data: Path, tmp_path: Path) -> None:
    assert list(check_data({"x/y.h5": data / "a.h5"}, None, tmp_path)) == ["x/y.h5"]
    placed = check_data([str(data / "a.h5")], {str(data / "a.h5"): "z.h5"}, tmp_path)
    assert list(placed) == ["z.h5"]


def test_name_that_ends_like_another(data: Path, tmp_path: Path) -> None:
    # The original put one name into the other, and could not bear a comma.
    (tmp_path / "a.h5").write_bytes(b"1")
    (tmp_path / "data,a.h5").write_bytes(b"2")
    placed = check_data(["a.h5", "data,a.h5"], None, tmp_path)
    assert [path.read_bytes() for path in placed.values()] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["/etc/hostname"], "say where the notebook looks for it"),
        (["../a.h5"], "say where the notebook looks for it"),
        (["h5_datasets/missing.h5"], "There is no file"),
        (["h5_datasets"], "is a folder"),
        (["h5_datasets/a.h5", "h5_datasets/./a.h5"], "Two files have the path"),
        ("h5_datasets/a.h5", "write \\["),
        ({"/abs.h5": "h5_datasets/a.h5"}, "absolute"),
        ({"../up.h5": "h5_datasets/a.h5"}, "leaves the folder"),
        ({"a": "h5_datasets/a.h5", "a/b": "h5_datasets/b.h5"}, "is a file and a folder"),
        ({"a\nb": "h5_datasets/a.h5"}, "unusual characters"),
    ],
)
def test_data_that_cannot_be_placed(
    data: Path, tmp_path: Path, given: object, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_data(given, None, tmp_path)  # type: ignore[arg-type]


def test_empty_file(data: Path, tmp_path: Path) -> None:
    (data / "a.h5").write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        check_data(["h5_datasets/a.h5"], None, tmp_path)


def test_default_argument_is_not_shared() -> None:
    import inspect

    defaults = [p.default for p in inspect.signature(run_script_job).parameters.values()]
    assert not any(isinstance(default, list | dict) for default in defaults)
    names = list(inspect.signature(run_script_job).parameters)[:6]
    assert names == ["script_path", "data_dict", "server", "key", "new_history_name", "tool_name"]


ONLY_THE_CLIENTS_OWN = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused}:
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from gpulab.client.check import check_script
import gpulab.client.cli, gpulab.client.galaxy, gpulab.client.upload, gpulab.client.download
check_script(sys.argv[1], ["epochs"], "key")
"""


def test_nothing_beside_the_client_extra_is_imported(notebook: Path) -> None:
    import subprocess
    import sys

    refused = {
        "papermill", "jupytext", "IPython", "ipykernel", "nbclient", "nbconvert", "tensorflow",
        "keras", "onnx", "onnxruntime", "pandas", "sklearn", "skl2onnx", "h5py", "matplotlib",
        "numpy", "psutil", "PIL",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", ONLY_THE_CLIENTS_OWN.format(refused=refused), str(notebook)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
