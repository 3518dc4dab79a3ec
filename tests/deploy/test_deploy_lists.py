"""The files for ephemeris, Ansible and Kubernetes name what there is in this repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import galaxy.config
import pytest
import yaml
from bioblend.galaxy import GalaxyInstance
from bioblend.galaxy.tool_data import ToolDataClient
from deployed import DEPLOY, JOB_CONF, ROOT
from ephemeris._config_models import RepositoryInstallTargets
from ephemeris.run_data_managers import DataManagers
from galaxy.tool_util.parser import get_tool_source

SHED = yaml.safe_load((ROOT / ".shed.yml").read_text(encoding="utf-8"))


def content(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def test_the_tool_list_has_every_repository():
    listed = RepositoryInstallTargets.model_validate(content("tool_list.yml")).tools
    assert {one.name for one in listed} == set(SHED["repositories"])
    assert len(listed) == len(SHED["repositories"])
    assert {one.owner for one in listed} == {SHED["owner"]}
    assert {one.tool_shed_url for one in listed} == {"toolshed.g2.bx.psu.edu"}
    assert all(one.tool_panel_section_label for one in listed)
    assert all((one.tool_panel_section_label == "Data managers") == ("data_manager" in one.name)
               for one in listed)  # fmt: skip


class NoRows(ToolDataClient):
    """A server whose data tables are empty."""

    def __init__(self) -> None:
        pass

    def show_data_table(self, data_table_id: str) -> dict[str, Any]:
        return {"columns": ["value", "name"], "fields": []}


def jobs() -> list[dict[str, Any]]:
    """Return the jobs that ephemeris would start on a new server."""
    nobody = GalaxyInstance("http://127.0.0.1:1", "key")
    managers = DataManagers(nobody, content("data_managers.yml"))
    managers.tool_data_client = NoRows()
    managers.initiate_job_lists()
    return [*managers.fetch_jobs, *managers.index_jobs]


def manager(job: dict[str, Any]) -> ElementTree.Element:
    """Return the tool of a job, its macros expanded by Galaxy, and check the job's id."""
    shed, _, owner, repository, tool, version = job["tool_id"].split("/")
    assert (shed, owner) == ("toolshed.g2.bx.psu.edu", SHED["owner"])
    folder = ROOT / SHED["repositories"][repository]["folder"]
    source = get_tool_source(str(folder / "data_manager" / f"{tool}.xml"))
    assert source.parse_id() == tool
    assert source.parse_version() == version
    return source.root


def chosen(tool: ElementTree.Element, name: str, inputs: dict[str, str]) -> ElementTree.Element:
    """Return the parameter of this name, in the branch of the form that the inputs choose."""
    place = tool.find("inputs")
    *conditionals, last = name.split("|")
    for conditional in conditionals:
        place = place.find(f"conditional[@name='{conditional}']")
        if last != place.find("param").attrib["name"]:
            kind = inputs[f"{conditional}|{place.find('param').attrib['name']}"]
            place = place.find(f"when[@value='{kind}']")
    found = place.find(f"param[@name='{last}']")
    assert found is not None, f"{name} is not in {tool.attrib['id']}"
    return found


def test_data_managers_are_run_with_their_own_parameters():
    started = jobs()
    assert len(started) == 3
    for job in started:
        tool = manager(job)
        for name, value in job["inputs"].items():
            param = chosen(tool, name, job["inputs"])
            assert value
            if param.attrib["type"] == "select":
                assert value in [option.attrib["value"] for option in param.findall("option")]
    assert {job["inputs"].get("source|set") for job in started} == {
        "alphafold2",
        "multimer_v3",
        None,
    }


def test_data_managers_fill_their_own_tables():
    for one in content("data_managers.yml")["data_managers"]:
        repository = one["id"].split("/")[3]
        folder = ROOT / SHED["repositories"][repository]["folder"]
        tree = ElementTree.parse(folder / "data_manager_conf.xml")
        tables = [table.attrib["name"] for table in tree.iter("data_table")]
        assert one["data_table_reload"] == tables


def test_the_library_has_known_types():
    library = content("data_library.yml")
    assert library["destination"]["type"] == "library"
    (folder,) = library["items"]
    sample = Path(galaxy.config.__file__).with_name("sample") / "datatypes_conf.xml.sample"
    known = {one.get("extension") for one in ElementTree.parse(sample).iter("datatype")}
    for item in folder["items"]:
        assert item["src"] == "url"
        assert item["url"].startswith("https://zenodo.org/record/6091361/files/")
        assert item["name"] in item["url"]
        assert item["ext"] in known


def test_ansible_copies_files_that_there_are():
    variables = content("ansible/group_vars.yml")
    prefix = "files/galaxy/gpulab/"
    copied = {one["src"].removeprefix(prefix) for one in variables["galaxy_config_files"]}
    assert copied == {"job_conf.yml", "tpv/tools.yml", "tpv/destinations.yml"}
    assert all((DEPLOY / name).is_file() for name in copied)
    environments = content("job_conf.yml")["execution"]["environments"]
    rules = [f"config/{name}" for name in sorted(copied, reverse=True) if name.startswith("tpv/")]
    assert environments["tpv_dispatcher"]["tpv_config_files"] == rules
    schema = Path(galaxy.config.__file__).with_name("schemas") / "config_schema.yml"
    options = re.findall(r"^      (\w+):$", schema.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(variables["galaxy_config"]["galaxy"]) <= set(options)


def test_ansible_fetches_the_images_of_every_tool():
    wanted = set()
    for path in [*ROOT.glob("tools/*/*.xml"), *ROOT.glob("data_managers/*/data_manager/*.xml")]:
        if path.name != "macros.xml":
            containers = get_tool_source(str(path)).parse_requirements()[1]
            wanted |= {one.identifier for one in containers}
    variables = content("ansible/group_vars.yml")
    fetched = {
        image.replace("{{ gpulab_version }}", str(variables["gpulab_version"]))
        for image in variables["gpulab_images"]
    }
    assert fetched == wanted | {f"{image}-cuda" for image in wanted}


def test_ansible_installs_the_tpv_that_is_tested():
    (wanted,) = content("ansible/group_vars.yml")["galaxy_additional_venv_packages"]
    assert wanted in (ROOT / "locks" / "deploy.txt").read_text(encoding="utf-8").splitlines()


def test_kubernetes_pulsar_is_where_galaxy_looks_for_it():
    text = (DEPLOY / "kubernetes" / "pulsar.yml").read_text(encoding="utf-8")
    parts = {one["kind"]: one for one in yaml.safe_load_all(text)}
    environment = yaml.safe_load(JOB_CONF.read_text(encoding="utf-8"))["execution"]["environments"][
        "kubernetes_pulsar"
    ]
    service = parts["Service"]
    host = f"{service['metadata']['name']}.galaxy.svc.cluster.local"
    assert environment["url"] == f"http://{host}:{service['spec']['ports'][0]['port']}/"
    pod = parts["Deployment"]["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    pulsar = yaml.safe_load(parts["Secret"]["stringData"]["app.yml"])
    assert pulsar["private_token"] == environment["private_token"]
    names = {one["name"] for one in pod["spec"]["volumes"]}
    assert names == {one["name"] for one in container["volumeMounts"]}


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.yml")), ids=lambda path: path.name)
def test_every_file_is_yaml_and_named_in_the_readme(path):
    assert list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    assert str(path.relative_to(DEPLOY)) in (DEPLOY / "README.md").read_text(encoding="utf-8")
