"""TPV's own programs accept the rules, and jobs go where the rules say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployed import DEPLOY, JOB_CONF, ROOT, TPV_FILES
from galaxy.jobs import JobDestination
from galaxy.jobs.mapper import JobMappingException
from galaxy.tool_util.parser import get_tool_source
from tpv.commands import shell
from tpv.commands.test import mock_galaxy
from tpv.core.loader import TPVConfigLoader
from tpv.core.mapper import EntityToDestinationMapper
from tpv.rules import gateway

MEBIBYTE = 2**20
TOOL_FILES = {
    path.stem: path
    for path in [*ROOT.glob("tools/*/*.xml"), *ROOT.glob("data_managers/*/data_manager/*.xml")]
    if path.name != "macros.xml"
}
REPOSITORIES = {path.stem: path.parent.name for path in ROOT.glob("tools/*/*.xml")}
PLAIN, WITH_ROLE = "plain", "with role"


@cache
def tool(name: str) -> mock_galaxy.Tool:
    """Return a tool under its Tool Shed id, with what its own XML file asks for."""
    source = get_tool_source(str(TOOL_FILES[name]))
    version = source.parse_version()
    repository = REPOSITORIES.get(name, name)
    return mock_galaxy.Tool(
        f"toolshed.g2.bx.psu.edu/repos/galaxy-gpu-lab/{repository}/{name}/{version}",
        version=version,
        resource_requirements=source.parse_requirements()[2],
        tool_type=source.parse_tool_type(),
    )


@cache
def app() -> mock_galaxy.App:
    return mock_galaxy.App(job_conf=str(JOB_CONF), create_model=True)


@cache
def mapper() -> EntityToDestinationMapper:
    return gateway.load_destination_mapper([str(path) for path in TPV_FILES])


def place(
    name: str,
    sizes: Mapping[str, float] | None = None,
    form: Mapping[str, Any] | None = None,
    user: str = WITH_ROLE,
    before: JobDestination | None = None,
    destinations: EntityToDestinationMapper | None = None,
) -> JobDestination:
    """Let TPV find a place for a job.

    Args:
        name: The tool.
        sizes: MiB of each input, by the name of its parameter.
        form: The job's parameters.
        user: Who runs it.
        before: Where it ran out of memory before.
        destinations: Other ones than those of the example.
    """
    job = mock_galaxy.Job()
    job.param_values = dict(form or {})
    job.destination_params = before.params if before else None
    for parameter, size in (sizes or {}).items():
        dataset = mock_galaxy.Dataset(parameter, int(size * MEBIBYTE))
        job.add_input_dataset(mock_galaxy.DatasetAssociation(parameter, dataset))
    person = mock_galaxy.User("ada", "ada@example.org", ["gpu"] if user == WITH_ROLE else [])
    return (destinations or mapper()).map_to_destination(app(), tool(name), person, job)


def image(destination: JobDestination) -> str:
    docker: str = destination.params["docker_container_id_override"]
    singularity = destination.params["singularity_container_id_override"]
    assert singularity == f"docker://{docker}"
    return docker.removeprefix("quay.io/galaxy-gpu-lab/")


def cores(destination: JobDestination) -> int:
    return int(destination.params.get("local_slots") or destination.params["job_ncpus"])


def mem(destination: JobDestination) -> float:
    return float(destination.params["gpulab_mem"])


def typed(monkeypatch: pytest.MonkeyPatch, *words: object) -> int | None:
    """Run TPV's program in this process: loading Galaxy takes long."""
    monkeypatch.setattr(sys, "argv", ["tpv", *map(str, words)])
    code: int | None = shell.main()
    return code


def test_lint(tmp_path):
    # TPV lets mypy look at the rules, with the settings of the current folder. Galaxy's own types
    # would take a minute and more.
    settings = "[mypy]\nfollow_imports = skip\nignore_missing_imports = true\n"
    (tmp_path / "mypy.ini").write_text(settings)
    done = subprocess.run(
        [Path(sys.executable).with_name("tpv"), "lint", *TPV_FILES],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if "tpv.commands" in line]
    assert said == ["INFO : tpv.commands.shell: lint successful."], done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("file", TPV_FILES, ids=lambda path: path.name)
def test_format_changes_nothing(file, monkeypatch, capsys):
    assert typed(monkeypatch, "format", file) == 0
    assert capsys.readouterr().out == file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("gigabytes", "roles", "said"),
    [
        (1, ["gpu"], ["id: docker_gpu", "--shm-size 8g", "unet:0.1.0-cuda"]),
        (1, ["plain"], ["id: docker_cpu", "unet:0.1.0"]),
    ],
)
def test_dry_run_as_an_administrator_types_it(gigabytes, roles, said, monkeypatch, capsys):
    words = ["dry-run", "--job-conf", JOB_CONF, "--tool", tool("unet_train").id]
    words += ["--input-size", gigabytes, "--user", "ada@example.org", "--roles", *roles]
    typed(monkeypatch, *words, "--", *TPV_FILES)
    out = capsys.readouterr().out
    for text in said:
        assert text in out


def test_there_are_rules_for_every_tool():
    assert len(TOOL_FILES) >= 9
    for name in TOOL_FILES:
        placed = place(name)
        assert mem(placed) > 0
        assert "gpulab_try" in placed.params


@pytest.mark.parametrize("name", sorted(TOOL_FILES))
def test_a_job_gets_what_its_tool_asks_for(name):
    wanted = {one.resource_type: one.get_value() for one in tool(name).resource_requirements}
    placed = place(name)
    if name != "run_jupyter_job":  # its runner, an embedded Pulsar, counts no processors
        assert cores(placed) >= wanted.get("cores_min", 1)
    assert mem(placed) * 1024 >= wanted.get("ram_min", 0)


TRAINING = {"training": 480, "validation": 60}


def network(filters: int, epochs: int, batch: int = 8) -> dict[str, Any]:
    return {
        "network": {"base_filters": filters},
        "optimiser": {"epochs": epochs, "batch_size": batch},
    }


@pytest.mark.parametrize(
    ("form", "sizes", "user", "where", "wanted_image"),
    [
        (network(32, 10), TRAINING, WITH_ROLE, "docker_gpu", "unet:0.1.0-cuda"),
        (network(32, 10), TRAINING, PLAIN, "docker_cpu", "unet:0.1.0"),
        # Small: the card's start takes as long as the job.
        (network(16, 2), {"training": 8, "validation": 1}, WITH_ROLE, "docker_cpu", "unet:0.1.0"),
        # The same data many times over.
        (network(64, 500), {"training": 8}, WITH_ROLE, "docker_gpu", "unet:0.1.0-cuda"),
    ],
)
def test_training(form, sizes, user, where, wanted_image):
    placed = place("unet_train", sizes, form, user)
    assert placed.id == where
    assert image(placed) == wanted_image
    gets_card = "--gpus all" in placed.params["docker_run_extra_arguments"]
    assert gets_card == (where == "docker_gpu")
    assert cores(placed) == (8 if gets_card else 4)
    limit = f"--memory {round(mem(placed) * 1024)}m"
    assert limit in placed.params["docker_run_extra_arguments"]
    assert placed.params["docker_net"] == "none"


def test_a_large_network_goes_to_the_cluster():
    placed = place("unet_train", TRAINING, network(64, 100, batch=64))
    assert placed.id == "slurm_gpu"
    assert placed.params["job_--gres"] == "gpu:1"
    assert placed.params["singularity_run_extra_arguments"] == "--nv"
    assert placed.params["job_--mem"] == f"{round(mem(placed) * 1024)}M"
    (before,) = placed.env
    assert '"$_GALAXY_JOB_DIR/galaxy_${_GALAXY_JOB_DIR##*/}.ec"' in before["execute"]
    assert place("unet_train", TRAINING, network(64, 100, batch=64), PLAIN).id == "slurm_cpu"


@pytest.mark.parametrize(
    ("sizes", "user", "where"),
    [
        ({"models": 8.6, "images|image_file": 10}, WITH_ROLE, "docker_cpu"),
        ({"models": 138, "images|image_file": 2000}, WITH_ROLE, "docker_gpu"),
        ({"models": 138, "images|image_file": 2000}, PLAIN, "docker_cpu"),
        ({"models": 2, "images|image_file": 100}, WITH_ROLE, "docker_cpu"),
    ],
)
def test_prediction(sizes, user, where):
    placed = place("unet_predict", sizes, user=user)
    assert placed.id == where
    assert image(placed) == ("unet:0.1.0-cuda" if where == "docker_gpu" else "unet:0.1.0")


def folded(residues: int) -> dict[str, Any]:
    return {"input": {"kind": "text", "sequences": "A" * residues}}


@pytest.mark.parametrize(
    ("form", "sizes", "user", "where", "gigabytes"),
    [
        (folded(60), {}, WITH_ROLE, "docker_cpu", 16),
        (folded(400), {}, WITH_ROLE, "docker_gpu", 16),
        (folded(400), {}, PLAIN, "docker_cpu", 16),
        (folded(900), {}, WITH_ROLE, "docker_gpu", 24),
        (folded(1800), {}, WITH_ROLE, "slurm_gpu", 48),
        # An alignment of a short protein is dear as well.
        ({"input": {"kind": "a3m"}}, {"input|a3m_files": 0.01}, WITH_ROLE, "slurm_gpu", 48),
    ],
)
def test_folding(form, sizes, user, where, gigabytes):
    placed = place("colabfold_batch", sizes, form, user)
    assert (placed.id, mem(placed)) == (where, gigabytes)
    assert image(placed) == ("fold:0.1.0-cuda" if "gpu" in where else "fold:0.1.0")


def test_searching():
    local = place("colabfold_search", form={"way": {"kind": "local"}})
    assert (local.id, cores(local), mem(local)) == ("slurm_cpu", 8, 64)
    server = place("colabfold_search", form={"way": {"kind": "server"}})
    assert (server.id, cores(server), server.params["docker_net"]) == ("docker_cpu", 1, "bridge")
    card = {"way": {"kind": "local", "search": {"device": "gpu"}}}
    assert place("colabfold_search", form=card).id == "slurm_gpu"
    with pytest.raises(JobMappingException, match="may not use GPUs"):
        place("colabfold_search", form=card, user=PLAIN)


def test_notebooks_are_isolated_for_everybody():
    for user, where in ((WITH_ROLE, "notebook_isolated_gpu"), (PLAIN, "notebook_isolated")):
        placed = place("run_jupyter_job", user=user)
        assert placed.id == where
        assert placed.runner == "pulsar_embedded"
        assert placed.params["docker_net"] == "none"
        assert placed.env == [{"name": "GALAXY_MEMORY_MB", "value": str(int(mem(placed) * 970))}]
        has_card = "--gpus all" in placed.params["docker_run_extra_arguments"]
        assert has_card == (user == WITH_ROLE)


def test_the_isolation_is_that_of_job_conf():
    wanted = yaml.safe_load(JOB_CONF.read_text())["execution"]["environments"]["notebook_isolated"]
    given = place("run_jupyter_job", user=PLAIN)
    for key, value in wanted.items():
        if key == "docker_run_extra_arguments":
            value = value.replace("16g", f"{mem(given) * 1024:.0f}m")
        if key not in ("runner", "env"):
            assert given.params[key] == value


def test_nothing_else_comes_to_the_notebooks_destination():
    for name in TOOL_FILES.keys() - {"run_jupyter_job"}:
        assert not place(name).id.startswith("notebook")


def test_more_memory_after_memory_ran_out_and_processors_in_the_end():
    tries = [place("unet_train", TRAINING, network(32, 10))]
    for _ in range(2):
        tries.append(place("unet_train", TRAINING, network(32, 10), before=tries[-1]))
    memory = [mem(one) for one in tries]
    assert memory[1:] == [2 * memory[0], 4 * memory[0]]
    assert ["-cuda" in image(one) for one in tries] == [True, True, False]
    (again,) = tries[0].resubmit
    assert again["environment"] == "tpv_dispatcher"
    assert again["condition"] == "memory_limit_reached and attempt <= 2"


@pytest.mark.parametrize(("name", "most"), [("unet_train", 128), ("run_jupyter_job", 32)])
def test_no_more_memory_than_there_is(name, most):
    placed = place(name, TRAINING, network(64, 10, batch=64))
    for _ in range(4):
        placed = place(name, TRAINING, network(64, 10, batch=64), before=placed)
    assert mem(placed) == most


def test_a_server_without_cards_uses_processors():
    loader = None
    for path in TPV_FILES:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for one in content.get("destinations", {}).values():
            one["max_accepted_gpus"] = 0
        loader = TPVConfigLoader(content, parent=loader)
    bare = EntityToDestinationMapper(loader)
    placed = place("unet_train", TRAINING, network(32, 10), destinations=bare)
    assert (placed.id, image(placed)) == ("docker_cpu", "unet:0.1.0")


def test_every_destination_says_how_many_cards_it_has():
    content = yaml.safe_load((DEPLOY / "tpv" / "destinations.yml").read_text())
    runners = yaml.safe_load(JOB_CONF.read_text())["runners"]
    for name, one in content["destinations"].items():
        assert "max_accepted_gpus" in one, name
        assert one.get("runner", "local") in runners


def test_galaxys_own_tools_stay_outside_of_containers():
    upload = mock_galaxy.Tool("upload1", version="1.1.7")
    job = mock_galaxy.Job()
    assert mapper().map_to_destination(app(), upload, None, job).id == "local"


def test_local_ids_have_the_same_rules():
    local = mock_galaxy.Tool("unet_train", version="0.1.0+galaxy0")
    person = mock_galaxy.User("ada", "ada@example.org")
    placed = mapper().map_to_destination(app(), local, person, mock_galaxy.Job())
    assert image(placed) == "unet:0.1.0"


def measured_trainings() -> list[tuple[int, int, int]]:
    """Return base filters, batch and MiB of the table in docs/resources.md."""
    text = (ROOT / "docs" / "resources.md").read_text(encoding="utf-8")
    table = text.partition("| base filters | pixels | batch |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    return [(int(row[0]), int(row[2]), int(row[-1])) for row in rows]


def test_training_gets_the_memory_that_was_measured():
    found = measured_trainings()
    assert len(found) >= 7
    for filters, batch, mebibytes in found:
        placed = place("unet_train", TRAINING, network(filters, 10, batch))
        assert mem(placed) * 1024 >= mebibytes, (filters, batch)
