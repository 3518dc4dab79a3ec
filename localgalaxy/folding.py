"""What the folding tools find in the local Galaxy: stand-in weights, a tiny database, tables."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

from localgalaxy.console import LocalGalaxyError, step
from localgalaxy.environments import environment
from localgalaxy.paths import CONFIG, DATA_MANAGERS, FOLD, FOLD_VENV, ROOT, STATE

WEIGHTS = FOLD / "weights"
MONOMER_WEIGHTS = FOLD / "weights_monomer"
DATABASE = FOLD / "database"
COMPILED = FOLD / "jax"
FETCHED = STATE / "fetched"  # where Galaxy moves what the data managers made

# Short sequences fold faster when JAX compiles them with less care, and faster still when an
# earlier job compiled them. The jobs of one machine may share what was compiled.
VARIABLES = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_COMPILATION_CACHE_DIR": str(COMPILED),
}

_MAKERS = {
    "stand-in weights": ("gpulab.testing.fold_weights", WEIGHTS),
    "a tiny database": ("gpulab.testing.fold_database", DATABASE),
}


def prepare() -> None:
    """Make the stand-in weights and the tiny database where they are missing or out of date."""
    for name, (module, folder) in _MAKERS.items():
        command = [str(FOLD_VENV / "bin" / "python"), "-m", module, str(folder)]
        label = f"Making {name}" if not folder.exists() else f"Checking {name}"
        with step(label):
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment(FOLD_VENV, {"CUDA_VISIBLE_DEVICES": ""}),
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            raise LocalGalaxyError(f"{module} failed:\n{done.stderr.strip()}")
    _write_monomer_weights()
    COMPILED.mkdir(exist_ok=True)


def _write_monomer_weights() -> None:
    """Write a second set that lacks the weights of complexes: links to the first.

    What is there stays, because jobs of another Galaxy of this checkout may read it.
    """
    params = MONOMER_WEIGHTS / "params"
    params.mkdir(parents=True, exist_ok=True)
    for number in range(1, 6):
        link = params / f"params_model_{number}_ptm.npz"
        if not link.is_symlink():
            link.symlink_to(WEIGHTS / "params" / link.name)
    (params / "download_finished.txt").touch()


def _rows(msa_server: str) -> dict[str, list[tuple[str, ...]]]:
    """Return the rows of each data table, in the order of its columns."""
    every = "alphafold2,alphafold2_ptm,alphafold2_multimer_v1,alphafold2_multimer_v2"
    every += ",alphafold2_multimer_v3,deepfold_v1"
    licence = "none: made-up numbers for tests"
    kinds = "clusters,pairing,environmental,templates,structures"
    names = ("uniref30_2302_db", "colabfold_envdb_202108_db", "pdb100_230517")
    return {
        "colabfold_weights": [
            ("stand_in", "Stand-in weights", "1", every, str(WEIGHTS), licence),
            (
                "stand_in_monomer",
                "Stand-in weights of monomers",
                "1",
                "alphafold2_ptm",
                str(MONOMER_WEIGHTS),
                licence,
            ),
        ],
        "colabfold_databases": [
            ("tiny", "Tiny made-up database", "1", kinds, str(DATABASE), *names),
        ],
        "colabfold_servers": [
            ("stand_in", "Stand-in server", msa_server, "It runs on this machine, for tests."),
        ],
    }


def write_tables(msa_server: str) -> Path:
    """Write the data tables and what they hold, and return the file that lists them.

    Args:
        msa_server: Address of the stand-in for an MSA server.
    """
    folder = CONFIG / "tool-data"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # The tables as an administrator gets them, with rows in place of the examples.
    tree = ElementTree.parse(ROOT / "tool_data_table_conf.xml.sample")  # noqa: S314 - our own
    rows = _rows(msa_server)
    for table in tree.iter("table"):
        name = table.attrib["name"]
        path = folder / f"{name}.loc"
        lines = ["\t".join(row) + "\n" for row in rows[name]]
        path.write_text("".join(lines), encoding="utf-8")
        for file in table.iter("file"):
            file.set("path", str(path))
    target = CONFIG / "tool_data_table_conf.xml"
    tree.write(target, encoding="unicode")
    return target


def server_command(port: int) -> list[str]:
    """Return the command line of the stand-in for an MSA server, on loopback."""
    python = str(FOLD_VENV / "bin" / "python")
    module = ["-m", "gpulab.testing.fold_server", str(DATABASE), str(port)]
    # Galaxy's keeper starts it, elsewhere than in this repository.
    return ["env", f"PYTHONPATH={ROOT}", "PYTHONDONTWRITEBYTECODE=1", python, *module]


def write_data_managers() -> Path:
    """Write one list of all data managers of this repository and return its path."""
    shutil.rmtree(FETCHED, ignore_errors=True)
    FETCHED.mkdir(parents=True)
    root = ElementTree.Element("data_managers")
    for path in sorted(DATA_MANAGERS.glob("*/data_manager_conf.xml")):
        for manager in ElementTree.parse(path).getroot():  # noqa: S314 - our own
            manager.set("tool_file", str(path.parent / manager.attrib["tool_file"]))
            root.append(manager)
    target = CONFIG / "data_manager_conf.xml"
    ElementTree.ElementTree(root).write(target, encoding="unicode")
    return target
