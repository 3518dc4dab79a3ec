"""Runs the package's own tests inside the images, with pytest mounted from outside.

The checkout and pytest are mounted read-only; everything else comes from the image. The user is one
that no image knows, to show that any will do.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from localgalaxy import folding
from localgalaxy.console import say, step
from localgalaxy.containers.engine import FOLDER, PODMAN, attempt
from localgalaxy.containers.images import Image
from localgalaxy.containers.site import ensure_site
from localgalaxy.outcomes import Outcome
from localgalaxy.paths import FOLD, REPORTS, ROOT, shown

PYTEST = "pytest-"  # before an environment: its tests, as a person names them
TESTS = ROOT / "tests"
INSIDE = "/checkout"
SITE_PACKAGES = "/opt/gpulab/lib/python3.11/site-packages"
USER = "12345:12345"
# Which tests belong to which image, by the names of their files.
SELECTED = {
    "unet": (
        *("test_h5_*", "test_jobs", "test_masks_*", "test_models_*", "test_report", "test_startup"),
        "test_unet_*",
    ),
    "notebook": ("test_notebook_*",),
    "fold": ("fold/test_*",),
}
# The others, and why they run outside.
LEFT_OUT = {
    "test_client_*": "they test what runs on a researcher's own machine, in no image",
    "test_notebooks": "they test the documentation's notebooks, which need the client",
}
REST = "they test the repository and the local Galaxy, not what runs in a job"
# Single tests that need what an image does not hold, and why.
_NO_JAX = "the image does not hold JAX"
DESELECTED = {
    "test_unet_network.py::test_two_training_steps_agree_on_every_installed_backend": _NO_JAX,
    "test_unet_parallel.py::test_several_devices_give_the_losses_of_one[jax-4]": _NO_JAX,
    "test_notebook_capture_values.py::test_other_array_likes_are_saved_as_arrays": _NO_JAX,
    "test_notebook_files.py::test_every_datatype_is_one_of_galaxy": "Galaxy is not in the image",
    "test_notebook_watch.py::test_pages_of_files_do_not_count": (
        "it writes to /tmp, which is memory there"
    ),
}
# The programs that test; their versions are those of the lock.
_PROGRAMS = ("pytest", "hypothesis")
_LOCKS = {"fold": "fold-test.txt"}


def files_of(environment: str) -> list[str]:
    """Return the test files of an image, relative to the checkout."""
    found = [path.relative_to(TESTS).with_suffix("") for path in sorted(TESTS.rglob("test_*.py"))]
    patterns = SELECTED[environment]
    names = [str(name) for name in found if any(_fits(str(name), one) for one in patterns)]
    return [f"tests/{name}.py" for name in names]


def left_out() -> Iterator[tuple[str, str]]:
    """Yield each test file that runs in no image, and why."""
    inside = {name for one in SELECTED for name in files_of(one)}
    for path in sorted(TESTS.glob("test_*.py")):
        if f"tests/{path.name}" not in inside:
            reasons = [why for one, why in LEFT_OUT.items() if _fits(path.stem, one)]
            yield path.name, reasons[0] if reasons else REST


def run_tests(environments: Sequence[str], arguments: str) -> Iterator[Outcome]:
    """Run the package's tests in the images, after saying what is left out.

    Args:
        environments: Of the images.
        arguments: How a container runs: its limits, and what it may not do.
    """
    reasons: dict[str, list[str]] = {}
    for name, why in left_out():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        say(f"Not in an image, because {why}: {', '.join(names)}")
    for name, why in DESELECTED.items():
        say(f"Not in an image, because {why}: {name}")
    folding.prepare()
    for name in environments:
        yield _run_one(name, arguments)


def _run_one(environment: str, arguments: str) -> Outcome:
    lock = _LOCKS.get(environment, "test.txt")
    site = ensure_site(f"pytest-{lock.removesuffix('.txt')}", lock, _PROGRAMS)
    variables = {
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",  # noqa: S108 - in the container
        "MPLCONFIGDIR": "/tmp/matplotlib",  # noqa: S108
    }
    volumes = {str(path): f"{INSIDE}/{path.name}" for path in _mounted()}
    volumes |= {str(site): "/pytest", str(FOLD): f"{INSIDE}/.galaxy/fold"}
    # Found after the image's own packages, also by programs that the tests start.
    path = site.with_suffix(".pth")
    path.write_text("/pytest\n", encoding="utf-8")
    volumes[str(path)] = f"{SITE_PACKAGES}/{path.name}"
    command = [
        *(str(PODMAN), "run", "--rm", "--net", "none", "--user", USER, *shlex.split(arguments)),
        *(f"--env={name}={value}" for name, value in variables.items()),
        *(f"--volume={outside}:{inside}:ro" for outside, inside in volumes.items()),
        *("--workdir", INSIDE, Image(environment).name),
        *("python", "-m", "pytest", "-p", "no:cacheprovider", "--quiet", "--color=no"),
        *(f"--deselect=tests/{name}" for name in DESELECTED),
        *files_of(environment),
    ]
    began = time.monotonic()
    with step(f"Testing the package inside {Image(environment).name}"):
        code, output = attempt(command, cwd=FOLDER)
    log = REPORTS / f"{PYTEST}{environment}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(output, encoding="utf-8")
    lines = output.rstrip().splitlines()
    for reason, count in skipped(lines).items():
        say(f"       left out {count}: {reason}")
    name = f"pytest in {environment}: {lines[-1].strip('= ') if lines else 'no output'}"
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    detail = "\n".join([*failed, f"All that it said: {shown(log)}"])
    return Outcome(name, code == 0, time.monotonic() - began, detail)


def skipped(lines: Sequence[str]) -> Counter[str]:
    """Return how many tests pytest says it left out, for each file and reason."""
    found: Counter[str] = Counter()
    for line in lines:
        if match := re.match(r"SKIPPED \[(\d+)\] ([^:]+)(?::\d+)?: (.+)", line):
            found[f"{match[2]}: {match[3]}"] += int(match[1])
    return found


def _mounted() -> list[Path]:
    """Return what of the checkout the tests may see: not its environments, and no state."""
    return [path for path in sorted(ROOT.iterdir()) if not path.name.startswith(".")]


def _fits(name: str, pattern: str) -> bool:
    # A star does not reach into folders.
    return name.count("/") == pattern.count("/") and fnmatch.fnmatch(name, pattern)
