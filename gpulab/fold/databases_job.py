"""The data manager of databases: check those that are there, or build them, and name a row."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from gpulab.errors import InputError
from gpulab.fold.databases import Databases, check_databases
from gpulab.fold.databases_build import Taxonomy, build_clusters, build_sequences
from gpulab.fold.fetch import sum_of
from gpulab.fold.full_disk import full_disk_told
from gpulab.fold.table_rows import MANAGER_FILE, one_line, row_value, write_row
from gpulab.jobs import OutputFolder

TABLE = "colabfold_databases"
FOLDER = "files/databases"
# Names of the databases that are built, in the folder of each.
MEMBERS, ENVIRONMENTAL, TEMPLATES = "members_db", "environmental_db", "templates_db"


def databases_job(params: dict[str, Any], outputs: OutputFolder) -> None:
    """Check or build databases and name their row in the table.

    Args:
        params: What the form gave: `source`, `name`, `version`.
        outputs: Gets `data_manager.json`, and `files/databases/` when databases are built.

    Raises:
        InputError: A database is missing or broken, or cannot be built.
    """
    form = params["source"]
    name = one_line(params["name"], "The name of the databases")
    version = one_line(params["version"], "The version")
    if form["kind"] == "folder":
        found = _registered(form)
        path = str(found.path)
        contents: list[str] = [path, found.uniref, found.environmental, found.templates]
    else:
        found = _built(form, outputs.folder(FOLDER))
        path = PurePosixPath(FOLDER).name
        contents = [sum_of(Path(file)) for file in _inputs(form)]
    row = {
        "value": row_value(f"{name} {version}", contents),
        "name": name,
        "version": version,
        "kinds": ",".join(found.kinds),
        "path": path,
        "uniref": found.uniref,
        "environmental": found.environmental,
        "templates": found.templates,
    }
    write_row(outputs.file(MANAGER_FILE), TABLE, row)
    print(f"{row['value']}: {row['kinds']}")


def _registered(form: dict[str, Any]) -> Databases:
    path = Path(one_line(form["path"], "The folder of the databases"))
    if not path.is_absolute():
        raise InputError(f"{path} does not begin with a slash: give the whole path of the folder")
    names = [str(form.get(key) or "").strip() for key in ("uniref", "environmental", "templates")]
    return check_databases(path, *names)


def _built(form: dict[str, Any], folder: Path) -> Databases:
    threads = int(os.environ.get("GALAXY_SLOTS") or 1)
    thorough = form["clustering"] == "thorough"
    environmental, templates = form.get("environmental"), form.get("templates")
    with full_disk_told("databases"):
        build_clusters(
            Path(form["members"]),
            folder,
            MEMBERS,
            taxonomy=_taxonomy(form["taxonomy"]),
            thorough=thorough,
            threads=threads,
        )
        if environmental:
            build_clusters(
                Path(environmental), folder, ENVIRONMENTAL, thorough=thorough, threads=threads
            )
        if templates:
            build_sequences(Path(templates), folder, TEMPLATES)
    return check_databases(
        folder, MEMBERS, ENVIRONMENTAL if environmental else "", TEMPLATES if templates else ""
    )


def _taxonomy(form: dict[str, Any]) -> Taxonomy | None:
    if form["known"] != "yes":
        return None
    return Taxonomy(Path(form["mapping"]), Path(form["nodes"]), Path(form["names"]))


def _inputs(form: dict[str, Any]) -> Iterable[str]:
    taxonomy = [form["taxonomy"].get(key) for key in ("mapping", "nodes", "names")]
    files = [form["members"], form.get("environmental"), form.get("templates"), *taxonomy]
    return [str(file) for file in files if file]
