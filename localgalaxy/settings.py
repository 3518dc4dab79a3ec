"""Writes the configuration files of the local Galaxy, as JSON, which is YAML as well."""

from __future__ import annotations

import json
import os
import secrets
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from localgalaxy import folding
from localgalaxy.paths import (
    CONFIG,
    FOLD_VENV,
    GALAXY_VENV,
    NOTEBOOK_VENV,
    SECRETS,
    STATE,
    TEST_DATA,
    UNET_VENV,
    tool_files,
)

ADMIN_EMAIL = "admin@localgalaxy.example"
USER_EMAIL = "lab@localgalaxy.example"
USER_NAME = "lab"
JOB_WORKERS = 2
# Tools whose jobs run elsewhere than in the environment of the segmentation tools.
TOOL_VENVS = {
    "run_jupyter_job": NOTEBOOK_VENV,
    "colabfold_search": FOLD_VENV,
    "colabfold_batch": FOLD_VENV,
    "data_manager_colabfold_weights": FOLD_VENV,
    "data_manager_colabfold_databases": FOLD_VENV,
}
Adapt = Callable[[dict[str, Any]], dict[str, Any]]
QUEUE = "galaxy.external"  # of the worker that uploads and reads metadata

# Galaxy's own tools that the tests and the workflows use; the paths are below its `tool_path`.
BUILT_IN = (
    "data_source/upload.xml",
    "expression_tools/pick_value.xml",
    "${model_tools_path}/extract_dataset.xml",
)


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody but its owner can read, at no moment."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def make_secrets() -> dict[str, str]:
    """Return this start's secrets; what stored data depend on stays as it was."""
    known: dict[str, str] = {}
    if SECRETS.exists():
        known = json.loads(SECRETS.read_text(encoding="utf-8"))
    result = {
        "id_secret": known.get("id_secret") or secrets.token_hex(24),
        "password": known.get("password") or secrets.token_urlsafe(12),
        "admin_key": secrets.token_hex(24),
    }
    write_private(SECRETS, json.dumps(result))
    return result


def write_tool_conf() -> None:
    """List Galaxy's upload tool and every tool of this repository."""
    lines = ['<?xml version="1.0"?>', "<toolbox>"]
    lines += ['  <section id="getext" name="Get Data">']
    lines += [f"    <tool file={quoteattr(BUILT_IN[0])}/>", "  </section>"]
    lines += ['  <section id="gpulab" name="Galaxy GPU Lab">']
    lines += [f"    <tool file={quoteattr(str(path))}/>" for path in tool_files()]
    lines += ["  </section>", '  <section id="expression_tools" name="Expression Tools">']
    lines += [f"    <tool file={quoteattr(name)}/>" for name in BUILT_IN[1:]]
    lines += ["  </section>", "</toolbox>", ""]
    (CONFIG / "tool_conf.xml").write_text("\n".join(lines), encoding="utf-8")


# Galaxy's job script sources this file twice, first for the tool and then for reading the outputs'
# metadata. After each it activates Galaxy's own environment unless the variable says "None".
JOB_ENVIRONMENT = """\
if [ "$_use_framework_galaxy" != "True" ]; then
    . {activate}
    GALAXY_VIRTUAL_ENV=None
    export PYTHONNOUSERSITE=1
fi
"""


def write_job_conf(adapt: Adapt | None = None) -> None:
    """Send our tools' jobs into their own environments, and Galaxy's upload into Galaxy's.

    Args:
        adapt: Changes what is about to be written.
    """
    others = {venv.name: venv for venv in TOOL_VENVS.values()}
    config: dict[str, Any] = {
        "runners": {
            "local": {"load": "galaxy.jobs.runners.local:LocalJobRunner", "workers": JOB_WORKERS}
        },
        "execution": {
            "default": "tools",
            "environments": {
                "galaxy": {"runner": "local"},
                "tools": _job_environment("tools", UNET_VENV),
                **{name: _job_environment(name, venv) for name, venv in others.items()},
            },
        },
        "tools": [
            {"class": "local", "environment": "galaxy"},
            {"class": "requires_galaxy", "environment": "galaxy"},
            *({"id": tool, "environment": venv.name} for tool, venv in TOOL_VENVS.items()),
        ],
    }
    _write_json(CONFIG / "job_conf.yml", adapt(config) if adapt else config)


def _job_environment(name: str, venv: Path) -> dict[str, Any]:
    script = CONFIG / f"job_environment_{name}.sh"
    activate = shlex.quote(str(venv / "bin" / "activate"))
    more = folding.VARIABLES if venv == FOLD_VENV else {}
    variables = [{"name": variable, "value": value} for variable, value in more.items()]
    script.write_text(JOB_ENVIRONMENT.format(activate=activate), encoding="utf-8")
    return {
        "runner": "local",
        "local_slots": max(1, (os.cpu_count() or 1) // JOB_WORKERS),
        "env": [{"file": str(script)}, *variables],
        # What a job prints is seen while it runs.
        "live_tool_output_reporting": True,
    }


def write_galaxy_config(
    url: str, secret: dict[str, str], msa_server: str, configure: Adapt | None = None
) -> Path:
    """Write `galaxy.yml` and return its path."""
    database = STATE / "database.sqlite"
    galaxy: dict[str, Any] = {
        "data_dir": str(STATE / "data"),
        "config_dir": str(CONFIG),
        "managed_config_dir": str(CONFIG / "managed"),
        "template_cache_path": str(STATE / "data" / "templates"),
        "database_connection": f"sqlite:///{database}?isolation_level=IMMEDIATE",
        "database_auto_migrate": True,
        "tool_config_file": str(CONFIG / "tool_conf.xml"),
        "job_config_file": str(CONFIG / "job_conf.yml"),
        "tool_test_data_directories": str(TEST_DATA),
        # The tables that come with Galaxy would be fetched from the internet at each start.
        "tool_data_table_config_path": str(folding.write_tables(msa_server)),
        "data_manager_config_file": str(folding.write_data_managers()),
        "galaxy_data_manager_data_path": str(folding.FETCHED),
        "watch_tools": "auto",
        "watch_tool_data_dir": "false",
        # Otherwise the jobs of tools outside of a Tool Shed run with Galaxy's own Python.
        "preserve_python_environment": "legacy_only",
        "id_secret": secret["id_secret"],
        "admin_users": f"{ADMIN_EMAIL},{USER_EMAIL}",
        "bootstrap_admin_api_key": secret["admin_key"],
        "galaxy_infrastructure_url": url,
        "brand": "GPU Lab",
        # Registration over the network is of no use on loopback, and neither is telling anyone.
        "allow_local_account_creation": False,
        "check_migrate_tools": False,
        "conda_auto_init": False,
        "conda_auto_install": False,
        "use_cached_dependency_manager": False,
        "dependency_resolvers": [],
        "enable_mulled_containers": False,
        # A worker that is there already uploads and reads metadata: a job that did it would first
        # load Galaxy's libraries, twice, which is ten seconds of computing.
        "enable_celery_tasks": True,
        "metadata_strategy": "directory_celery",
        "amqp_internal_connection": f"sqlalchemy+sqlite:///{_queue()}?isolation_level=IMMEDIATE",
        "celery_conf": {
            "task_routes": {"galaxy.fetch_data": QUEUE, "galaxy.set_job_metadata": QUEUE},
            "worker_hijack_root_logger": False,
        },
        "outputs_to_working_directory": True,
        "cleanup_job": "onsuccess",
        "enable_tool_shed_check": False,
        "tool_cache_data_dir": str(STATE / "data" / "tool_cache"),
        "monitor_thread_join_timeout": 5,
        # A small machine waits less on a queue that looks often.
        "job_handler_monitor_sleep": 0.5,
        "job_runner_monitor_sleep": 0.5,
        "workflow_monitor_sleep": 0.5,
        "history_audit_table_prune_interval": 0,
        "logging": logging_settings("galaxy"),
    }
    path = CONFIG / "galaxy.yml"
    settings = configure(galaxy) if configure else galaxy
    write_private(path, json.dumps({"galaxy": settings}, indent=1))
    return path


def _queue() -> Path:
    """Return the file through which Galaxy and its worker talk; not the database, it is busy."""
    return STATE / "data" / "queue.sqlite"


def logging_settings(package: str) -> dict[str, Any]:
    """Return settings for a package's messages from INFO on, the libraries' from WARNING on."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "root": {"handlers": ["console"], "level": "WARNING"},
        "loggers": {package: {"level": "INFO"}, "gunicorn.error": {"level": "INFO"}},
    }


def write_all(
    url: str, msa_server: str, adapt: Adapt | None = None, configure: Adapt | None = None
) -> Path:
    """Write every file.

    Args:
        url: Address of Galaxy.
        msa_server: Address of the stand-in for an MSA server.
        adapt: See `write_job_conf`.
        configure: Changes Galaxy's settings before they are written.

    Returns:
        The path of `galaxy.yml`.
    """
    (CONFIG / "managed").mkdir(parents=True, exist_ok=True)
    # What was queued when Galaxy ended belongs to jobs that are no more.
    for path in (_queue(), STATE / "data" / "results.sqlite"):
        path.unlink(missing_ok=True)
    _queue().parent.mkdir(parents=True, exist_ok=True)
    write_tool_conf()
    write_job_conf(adapt)
    return write_galaxy_config(url, make_secrets(), msa_server, configure)


def server_command(port: int) -> list[str]:
    """Return the command line of the web application on loopback."""
    return [
        str(GALAXY_VENV / "bin" / "gunicorn"),
        "galaxy.webapps.galaxy.fast_factory:factory()",
        "--worker-class",
        "galaxy.webapps.galaxy.workers.Worker",
        "--bind",
        f"127.0.0.1:{port}",
        "--timeout",
        "600",
        "--graceful-timeout",
        "5",
        "--no-control-socket",
    ]


def worker_command() -> list[str]:
    """Return the command line of the worker that uploads and reads metadata."""
    return [
        str(GALAXY_VENV / "bin" / "celery"),
        "--app=galaxy.celery",
        "worker",
        "--pool=threads",
        f"--concurrency={JOB_WORKERS}",
        f"--queues=celery,galaxy.internal,{QUEUE}",
        "--loglevel=WARNING",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
    ]


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
