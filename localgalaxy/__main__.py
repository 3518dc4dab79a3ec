"""`python3 -m localgalaxy COMMAND`: set up, run and test with a real Galaxy on this machine."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from localgalaxy import (
    clienttests,
    debian,
    demo,
    deployment,
    environments,
    lint,
    managertests,
    server,
    tooltests,
)
from localgalaxy.console import LocalGalaxyError, say
from localgalaxy.containers import images
from localgalaxy.containers.command import run_containers as run_in_containers
from localgalaxy.containers.ready import load_image
from localgalaxy.containers.sbom import write_sbom
from localgalaxy.isolation.command import run_isolation
from localgalaxy.outcomes import Outcome, conclude, shown_one_by_one
from localgalaxy.paths import (
    BUILD,
    LOG,
    LOGIN,
    data_manager_files,
    shown,
    tool_files,
    workflow_files,
)
from localgalaxy.pulsar.command import run_pulsar
from localgalaxy.slurm.command import run_slurm
from localgalaxy.toolshed.command import run_toolshed


def _terminate(number: int, frame: FrameType | None) -> None:
    """Turn a request to end into an exception, so that every `finally` runs."""
    del frame
    raise SystemExit(128 + number)


def run_setup(arguments: argparse.Namespace) -> int:
    """Make the virtual environments."""
    environments.ensure_galaxy()
    environments.ensure_tools(with_tests=arguments.tests)
    if arguments.tests:
        environments.ensure_deployment()
    return 0


def run_system(arguments: argparse.Namespace) -> int:
    """Install the Debian packages that some tests run."""
    del arguments
    return debian.install_packages()


def run_galaxy(arguments: argparse.Namespace) -> int:
    """Keep a Galaxy running until Ctrl-C."""
    del arguments
    environments.ensure_galaxy()
    environments.ensure_tools()
    with server.running_galaxy() as galaxy:
        say(f"Galaxy runs at {galaxy.url}")
        say(f"Address, e-mail, password and API key: {shown(LOGIN)}")
        say(f"Log: {shown(LOG)}")
        say("Ctrl-C stops it.")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            say()
    return 0


def run_test(arguments: argparse.Namespace) -> int:
    """Lint and test what is named, or every tool and workflow."""
    environments.ensure_galaxy()
    environments.ensure_tools()
    tools, workflows = _selected(arguments.targets)
    outcomes: list[Outcome] = []
    everything = not arguments.targets
    outcomes += shown_one_by_one(lint.check_format(lint.xml_files() if everything else tools))
    outcomes += shown_one_by_one(lint.lint_published(tools, repositories=everything))
    outcomes += shown_one_by_one(lint.lint_workflows(workflows))
    if arguments.lint_only:
        return conclude(outcomes)
    with server.running_galaxy() as galaxy:
        for kind, files in (("tools", tools), ("workflows", workflows)):
            if files:
                # Two developers who test two tools at the same time must not share a report.
                label = kind if everything else "+".join(path.stem for path in files)
                outcomes += tooltests.run_tests(galaxy, files, label)
        if set(tools) & set(data_manager_files()):
            outcomes += shown_one_by_one(managertests.run_tests(galaxy))
            outcomes += shown_one_by_one(deployment.run_tests(galaxy))
        if everything:
            environments.ensure_tools(with_tests=True)
            outcomes += clienttests.run_client_tests(galaxy)
    return conclude(outcomes)


def _selected(targets: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    tools = [*tool_files(), *data_manager_files()]
    if not targets:
        return tools, workflow_files()
    paths = [target.resolve() for target in targets]
    known = {*tools, *workflow_files()}
    for path in paths:
        if path not in known:
            raise LocalGalaxyError(
                f"{shown(path)} is neither a tool of this repository nor a workflow with tests."
            )
    return (
        [path for path in paths if path.suffix == ".xml"],
        [path for path in paths if path.suffix != ".xml"],
    )


def run_repositories(arguments: argparse.Namespace) -> int:
    """Write each Tool Shed repository as it would be published."""
    del arguments
    environments.ensure_galaxy()
    shutil.rmtree(BUILD, ignore_errors=True)
    for path in lint.export_repositories(BUILD):
        say(shown(path))
    return 0


def run_publish(arguments: argparse.Namespace) -> int:
    """Publish what changed; the key comes by the variable SHED_API_KEY."""
    key = os.environ.get("SHED_API_KEY", "")
    if not key:
        raise LocalGalaxyError("Put the Tool Shed's API key into the variable SHED_API_KEY.")
    run_repositories(arguments)
    return conclude(list(shown_one_by_one(lint.publish_repositories(BUILD, arguments.shed, key))))


def run_the_demo(arguments: argparse.Namespace) -> int:
    """Run the demo's workflow and fetch its outputs."""
    parameters = {
        "Epochs": arguments.epochs,
        "Base filters": arguments.filters,
        "Batch size": arguments.batch,
    }
    return demo.run_demo(arguments.data, arguments.workflow, arguments.results, parameters)


def run_format(arguments: argparse.Namespace) -> int:
    """Let planemo write the XML files in its form."""
    del arguments
    environments.ensure_galaxy()
    lint.write_format(lint.xml_files())
    return 0


def run_locks(arguments: argparse.Namespace) -> int:
    """Resolve the lock files anew."""
    del arguments
    environments.compile_locks()
    return 0


def run_images(arguments: argparse.Namespace) -> int:
    """Build the containers' images."""
    if arguments.names:
        return images.show_names(arguments.images, arguments.variant)
    return images.run_images(arguments.images, arguments.variant, arguments.base)


def run_sbom(arguments: argparse.Namespace) -> int:
    """Write the list of an image's packages."""
    count = write_sbom([arguments.program], arguments.image, arguments.file)
    say(f"{shown(arguments.file)}: {count} packages")
    return 0


def run_containers(arguments: argparse.Namespace) -> int:
    """Test tools and package inside their images."""
    return run_in_containers(arguments.names)


def run_release_workflows(arguments: argparse.Namespace) -> int:
    """Write the workflows with the ids of a Tool Shed."""
    environments.ensure_galaxy()
    for path in lint.release_workflows(BUILD / "workflows", arguments.shed):
        say(shown(path))
    return 0


def alone(run: Callable[[], int]) -> Callable[[argparse.Namespace], int]:
    """Return a command that takes nothing from the command line."""
    return lambda _: run()


def run_clean(arguments: argparse.Namespace) -> int:
    """Remove what running leaves behind."""
    del arguments
    server.remove_state()
    for folder in (demo.RESULTS, BUILD):
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python3 -m localgalaxy", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    setup = commands.add_parser("setup", help="make the virtual environments")
    setup.add_argument("--tests", action="store_true", help="with the developers' programs")
    setup.set_defaults(run=run_setup)

    galaxy = commands.add_parser("galaxy", help="run Galaxy with our tools until Ctrl-C")
    galaxy.set_defaults(run=run_galaxy)

    test = commands.add_parser("test", help="lint and test tools and workflows")
    test.add_argument("targets", nargs="*", type=Path, help="tool or workflow files (default: all)")
    test.add_argument("--lint-only", action="store_true", help="start no Galaxy")
    test.set_defaults(run=run_test)

    demo_run = commands.add_parser("demo", help="run the workflow on data")
    demo_run.add_argument("--data", default="", help="an HDF5 file, or zenodo (default: small)")
    demo_run.add_argument("--epochs", default="", help="workflow parameter “Epochs”")
    demo_run.add_argument("--filters", default="", help="workflow parameter “Base filters”")
    demo_run.add_argument("--batch", default="", help="workflow parameter “Batch size”")
    demo_run.add_argument("--workflow", type=Path, default=demo.DEFAULT_WORKFLOW)
    demo_run.add_argument("--results", type=Path, default=demo.RESULTS)
    demo_run.set_defaults(run=run_the_demo)

    publish = commands.add_parser("publish", help="publish the Tool Shed repositories")
    publish.add_argument("shed", help="toolshed, testtoolshed or an address")
    publish.set_defaults(run=run_publish)

    released = commands.add_parser("release-workflows", help="write workflows for other servers")
    released.add_argument("shed", help="toolshed, testtoolshed or an address")
    released.set_defaults(run=run_release_workflows)

    shed_test = commands.add_parser("toolshed", help="publish, install, test and upgrade")
    shed_test.add_argument("--all", action="store_true", help="the slow tests as well")
    shed_test.set_defaults(run=lambda given: run_toolshed(every=given.all))

    build = commands.add_parser("images", help="build the containers' images")
    build.add_argument("images", nargs="*", help="environments (default: all)")
    build.add_argument("--variant", default="cpu", help="cpu or cuda")
    build.add_argument("--base", default="", help="hub, debian or an image of Python")
    build.add_argument("--names", action="store_true", help="print the names and build nothing")
    build.set_defaults(run=run_images)

    sbom = commands.add_parser("sbom", help="list what is in an image, in the form of CycloneDX")
    sbom.add_argument("image")
    sbom.add_argument("file", type=Path)
    sbom.add_argument("--program", default="docker", help="what runs the image")
    sbom.set_defaults(run=run_sbom)

    inside = commands.add_parser("containers", help="test tools and package in their images")
    inside.add_argument("names", nargs="*", help="tools, images, pytest-IMAGE (default: all)")
    inside.set_defaults(run=run_containers)

    for name, run, text in (
        ("format", run_format, "write the XML files in planemo's form"),
        ("repositories", run_repositories, "write the Tool Shed repositories to build/"),
        ("system", run_system, "install the Debian packages that some tests run"),
        ("locks", run_locks, "resolve the lock files anew"),
        ("clean", run_clean, "remove Galaxy's state, the demo's results and build/"),
        ("isolation", alone(run_isolation), "try to break out of notebooks' containers"),
        ("load-image", alone(load_image), "take an image from standard input"),
        ("slurm", alone(run_slurm), "run the tools through a Slurm cluster on this machine"),
        ("pulsar", alone(run_pulsar), "run the tools on a Pulsar that shares no file"),
    ):
        commands.add_parser(name, help=text).set_defaults(run=run)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parse(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    try:
        return int(arguments.run(arguments))
    except LocalGalaxyError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
