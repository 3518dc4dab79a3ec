"""What of the images can be tested without building them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bare_machine import said_on_a_bare_machine

from localgalaxy.console import LocalGalaxyError
from localgalaxy.containers import command, engine, images, package_tests
from localgalaxy.containers.images import ENVIRONMENTS, VARIANTS, Image
from localgalaxy.environments import LOCK_SOURCES
from localgalaxy.paths import ROOT, data_manager_files, tool_files

CONTAINERFILE = images.CONTAINERFILE.read_text()
ALL = [Image(environment, variant) for environment in ENVIRONMENTS for variant in VARIANTS]
WORKFLOWS = ROOT / ".github" / "workflows"


def versions(lock: Path) -> dict[str, str]:
    found = re.findall(r"^([a-z0-9-]+)==(\S+)$", lock.read_text(), re.MULTILINE)
    return dict(found)


@pytest.mark.parametrize("image", ALL, ids=lambda image: image.lock.stem)
def test_every_image_has_a_lock_that_is_made(image: Image) -> None:
    assert image.lock.name in LOCK_SOURCES
    assert len(versions(image.lock)) > 20


def test_tags_are_the_tools_version() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert Image("fold").name == f"quay.io/galaxy-gpu-lab/fold:{version[1]}"
    assert Image("fold", "cuda").name == f"quay.io/galaxy-gpu-lab/fold:{version[1]}-cuda"


def test_every_tool_names_an_image_that_we_build() -> None:
    found = {
        path.stem: command.environment_of(path) for path in [*tool_files(), *data_manager_files()]
    }
    assert set(found.values()) == set(ENVIRONMENTS)
    assert found["unet_train"] == "unet"
    assert found["run_jupyter_job"] == "notebook"
    assert found["data_manager_colabfold_weights"] == "fold"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_cuda_has_the_versions_of_the_processors_lock(environment: str) -> None:
    cpu, cuda = (versions(Image(environment, variant).lock) for variant in VARIANTS)
    # The builds for CUDA have other names, and ONNX Runtime's is older.
    assert cpu.pop("tensorflow-cpu", None) == cuda.pop("tensorflow", None)
    cpu.pop("onnxruntime", None)
    cuda.pop("onnxruntime-gpu", None)
    assert cpu.items() <= cuda.items()
    added = [name for name in cuda.keys() - cpu.keys() if not name.startswith("nvidia-")]
    assert all("cuda" in name for name in added)
    # Two of CUDA's generations in one image would be gigabytes, and may not load.
    assert {name[-5:] for name in cuda if name.startswith("nvidia-cu")} == {"-cu12"}


@pytest.mark.parametrize("environment", ["unet", "notebook"])
def test_onnx_runtime_is_built_for_the_cuda_that_is_there(environment: str) -> None:
    """The resolver notes who asked for the libraries of CUDA 12."""
    text = Image(environment, "cuda").lock.read_text()
    asked = re.search(r"^nvidia-cuda-runtime-cu12==.+\n((?: .*\n)+)", text, re.MULTILINE)
    assert asked
    assert "onnxruntime-gpu" in asked[1]
    assert "tensorflow" in asked[1]


def test_the_builder_sees_the_locks_alone() -> None:
    """The Containerfile copies nothing else, so no change of ours needs a new image."""
    copied = re.findall(r"^COPY (?!--from)(\S+)", CONTAINERFILE, re.MULTILINE)
    assert copied == ["locks/${ENVIRONMENT}-${VARIANT}.txt"]
    assert (ROOT / ".dockerignore").read_text().splitlines()[1:] == ["*", "!locks/*.txt"]


def test_images_are_labelled_and_have_an_unprivileged_user() -> None:
    for label in ("title", "description", "version", "revision", "source", "licenses"):
        assert f"org.opencontainers.image.{label}=" in CONTAINERFILE
    user = re.findall(r"^USER (\d+):(\d+)$", CONTAINERFILE, re.MULTILINE)
    assert [int(number) > 0 for number in user[-1]] == [True, True]


def test_every_test_of_a_tool_runs_in_an_image() -> None:
    """What imports the package is tested in an image, or there is a reason of its own."""
    for name, why in package_tests.left_out():
        text = (ROOT / "tests" / name).read_text()
        if re.search(r"^(from|import) gpulab", text, re.MULTILINE) and "localgalaxy" not in text:
            assert why != package_tests.REST, f"{name} runs in no image"
    for test in package_tests.DESELECTED:
        path, _, name = test.partition("[")[0].partition("::")
        assert f"def {name}(" in (ROOT / "tests" / path).read_text()
    assert "tests/fold/test_run.py" in package_tests.files_of("fold")
    assert "tests/test_unet_train.py" in package_tests.files_of("unet")


def test_what_pytest_leaves_out_is_told_by_reason() -> None:
    lines = [
        "SKIPPED [2] tests/test_a.py:3: no card: none",
        "SKIPPED [1] tests/test_a.py:9: no card: none",
        "SKIPPED [1] tests/test_b.py: whole file",
        "3 passed, 4 skipped in 1.00s",
    ]
    wanted = {"tests/test_a.py: no card: none": 3, "tests/test_b.py: whole file": 1}
    assert package_tests.skipped(lines) == wanted


def test_unknown_names_are_told() -> None:
    with pytest.raises(LocalGalaxyError, match=r"unet_predict.*pytest-fold"):
        command.run_containers(["unet_predikt"])
    with pytest.raises(LocalGalaxyError, match="unet, notebook, fold"):
        images.run_images(["unett"], "cpu", "")
    with pytest.raises(LocalGalaxyError, match="cpu or cuda"):
        images.run_images([], "rocm", "")


def test_says_that_nothing_was_tested() -> None:
    said = said_on_a_bare_machine("containers")
    assert said.startswith("Skipped, nothing was tested: podman and runc and debootstrap")


def test_two_checkouts_do_not_share_containers() -> None:
    text = engine.write_wrapper().read_text()
    assert str(ROOT) in text
    assert str(engine.RUN_ROOT) in text


def test_workflows_build_every_image_from_the_one_file() -> None:
    matrix = re.search(
        r"environment: \[(.+)\]\n\s+variant: \[(.+)\]", (WORKFLOWS / "images.yml").read_text()
    )
    assert matrix
    assert tuple(matrix[1].split(", ")) == ENVIRONMENTS
    assert tuple(matrix[2].split(", ")) == VARIANTS
    for name in ("images.yml", "ci.yml"):
        text = (WORKFLOWS / name).read_text()
        assert "containers/Containerfile" in text
        assert "FROM " not in text


def test_published_digests_are_digests() -> None:
    digests = json.loads((ROOT / "containers" / "digests.json").read_text())
    for name, digest in digests.items():
        assert re.fullmatch(r"quay\.io/galaxy-gpu-lab/[a-z]+:\d+\.\d+\.\d+(-cuda)?", name)
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)
