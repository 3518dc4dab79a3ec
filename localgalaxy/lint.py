"""What planemo does without a running Galaxy: lint, format, and the Tool Shed's repositories."""

from __future__ import annotations

import difflib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from localgalaxy import planemo
from localgalaxy.console import LocalGalaxyError
from localgalaxy.environments import environment
from localgalaxy.outcomes import Outcome
from localgalaxy.paths import GALAXY_VENV, ROOT

# Both ask a server on the internet: bio.tools and the Tool Shed. The workflow that publishes the
# tools runs them; here they would fail wherever there is no internet.
NEEDS_INTERNET = ("BioToolsValid", "version_bumped")


def lint_published(tools: Sequence[Path], *, repositories: bool) -> Iterator[Outcome]:
    """Check the tools as they are published, because planemo does not follow links to folders.

    Args:
        tools: The tools to lint, once for all of them, with warnings as failures.
        repositories: Whether to run `planemo shed_lint` on each repository as well.
    """
    skip = ["--skip", ",".join(NEEDS_INTERNET)]
    options = ["--report_level", "warn", "--fail_level", "warn", *skip]
    with tempfile.TemporaryDirectory() as folder:
        published = export_repositories(Path(folder))
        if tools:
            name = f"lint {', '.join(path.stem for path in tools)}"
            copies = [str(Path(folder) / path.relative_to(ROOT)) for path in tools]
            yield planemo.check(name, ["lint", *options, *copies])
        for path in published if repositories else []:
            arguments = ["shed_lint", "--tools", "--ensure_metadata", *options, str(path)]
            yield planemo.check(f"shed_lint {path.name}", arguments)


def lint_workflows(workflows: Sequence[Path]) -> Iterator[Outcome]:
    """Run `planemo workflow_lint` on each workflow, with the rules of IWC."""
    options = ["--iwc", "--report_level", "warn", "--fail_level", "warn"]
    for path in workflows:
        name = f"workflow_lint {path.relative_to(ROOT)}"
        yield planemo.check(name, ["workflow_lint", *options, str(path)])


def check_format(files: Sequence[Path]) -> Iterator[Outcome]:
    """Compare each XML file with what `planemo format` makes of a copy.

    The command itself ends with 0 whatever it finds, so only a comparison can tell.
    """
    if not files:
        return
    with tempfile.TemporaryDirectory() as folder:
        texts = {path: path.read_text(encoding="utf-8") for path in files}
        copies = {path: Path(folder) / path.relative_to(ROOT) for path in files}
        for path, copy in copies.items():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(texts[path], encoding="utf-8")
        ran = planemo.check("format", ["format", *(str(copy) for copy in copies.values())])
        if not ran.passed:
            yield ran
            return
        for path, copy in copies.items():
            diff = difflib.unified_diff(
                texts[path].splitlines(),
                copy.read_text(encoding="utf-8").splitlines(),
                "as it is",
                "as `make format` writes it",
                lineterm="",
            )
            detail = "\n".join(diff)
            yield Outcome(f"format {path.relative_to(ROOT)}", not detail, None, detail)


def write_format(files: Sequence[Path]) -> None:
    """Write the files in planemo's form."""
    planemo.check("format", ["format", *(str(path) for path in files)]).show()


def xml_files() -> list[Path]:
    """Return every XML file that we format; links are other files' names."""
    patterns = ("macros/*.xml", "tools/*/*.xml", "data_managers/*/data_manager/*.xml")
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    return sorted(path for path in found if not path.is_symlink())


def export_repositories(target: Path) -> list[Path]:
    """Write each Tool Shed repository as it would be published and return their folders."""
    return _written_by("localgalaxy.toolshed.repositories", str(target))


def release_workflows(target: Path, shed: str) -> list[Path]:
    """Write each workflow with the ids of a Tool Shed and return the files.

    Args:
        target: The folder to fill.
        shed: `toolshed`, `testtoolshed` or the address of another.
    """
    return _written_by("localgalaxy.toolshed.workflows", str(target), shed)


def _written_by(module: str, *arguments: str) -> list[Path]:
    """Run a module with Galaxy's Python and return the paths that it prints."""
    done = subprocess.run(
        [str(GALAXY_VENV / "bin" / "python"), "-m", module, *arguments],
        cwd=ROOT,
        env=environment(GALAXY_VENV),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LocalGalaxyError(done.stderr.strip() or f"{module} failed and did not say why.")
    return [Path(line) for line in done.stdout.splitlines()]


def publish_repositories(folder: Path, shed: str, key: str) -> Iterator[Outcome]:
    """Publish the repositories that differ from what the Tool Shed has; end at the first failure.

    Args:
        folder: Where `export_repositories` wrote them.
        shed: `toolshed`, `testtoolshed` or the address of another.
        key: The API key of the account that publishes.
    """
    options = ["--shed_target", shed, "--shed_key_from_env", "SHED_API_KEY"]
    options += ["--force_repository_creation"]
    # The suite names the others, so it comes last.
    paths = [*sorted(folder.glob("data_managers/*")), *sorted(folder.glob("tools/*"))]
    paths.sort(key=lambda path: path.name.startswith("suite_"))
    for path in paths:
        # planemo leaves out of a comparison which revisions the suite names, and those are what
        # changes in it.
        only_changed = [] if path.name.startswith("suite_") else ["--check_diff"]
        arguments = ["shed_update", *options, *only_changed, str(path)]
        outcome = planemo.check(f"publish {path.name}", arguments, extra={"SHED_API_KEY": key})
        yield outcome
        if not outcome.passed:
            return
