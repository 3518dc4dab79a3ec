"""Starts a real, empty Tool Shed on loopback."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localgalaxy import api, programs
from localgalaxy.environments import environment
from localgalaxy.paths import TOOLSHED_VENV
from localgalaxy.settings import logging_settings, write_private

ADMIN_EMAIL = "admin@toolshed.example"
OWNER_EMAIL = "owner@toolshed.example"


@dataclass(frozen=True)
class ToolShed:
    """A running Tool Shed of ours."""

    url: str
    owner: str
    key: str
    files: Path

    @property
    def host(self) -> str:
        """The beginning of the ids of its tools."""
        return self.url.partition("://")[2]


@contextmanager
def running_tool_shed(folder: Path, owner: str, categories: Iterable[str]) -> Iterator[ToolShed]:
    """Give a Tool Shed with one account and some categories; it ends with this block.

    Args:
        folder: A new folder for all that it writes.
        owner: Name of the account that will publish.
        categories: Names of the categories that there shall be.
    """
    folder.mkdir(parents=True)
    home = folder / "home"
    home.mkdir()
    (port,) = programs.free_ports(1)
    url = f"http://127.0.0.1:{port}"
    admin_key = secrets.token_hex(24)
    config = _write_config(folder, url, admin_key)
    variables = {"TOOL_SHED_CONFIG_FILE": str(config), "HOME": str(home)}
    with programs.running(
        "the Tool Shed",
        [_command(port)],
        lambda: api.answers(url),
        log=folder / "toolshed.log",
        cwd=folder,
        env=environment(TOOLSHED_VENV, variables),
    ):
        key = _make_account(url, admin_key, owner)
        for name in sorted(set(categories)):
            body = {"name": name, "description": name}
            api.request(url, "/api/categories", key=admin_key, method="POST", body=body)
        yield ToolShed(url, owner, key, folder / "repositories")


def _make_account(url: str, admin_key: str, owner: str) -> str:
    """Make the account that publishes and return its API key."""
    body = {"email": OWNER_EMAIL, "username": owner, "password": secrets.token_urlsafe(16)}
    user = api.request(url, "/api/users", key=admin_key, method="POST", body=body)
    key = api.request(url, f"/api/users/{user['id']}/api_key", key=admin_key, method="POST")
    return str(key)


def _write_config(folder: Path, url: str, admin_key: str) -> Path:
    database = folder / "toolshed.sqlite"
    (folder / "hgweb").mkdir()
    (folder / "tmp").mkdir()
    tool_shed: dict[str, Any] = {
        "data_dir": str(folder / "data"),
        "config_dir": str(folder),
        "database_connection": f"sqlite:///{database}?isolation_level=IMMEDIATE",
        "file_path": str(folder / "repositories"),
        "new_file_path": str(folder / "tmp"),
        "hgweb_config_dir": str(folder / "hgweb"),
        "hgweb_repo_prefix": "repos/",
        "model_cache_dir": str(folder / "model_cache"),
        "whoosh_index_dir": str(folder / "index"),
        "citation_cache_data_dir": str(folder / "citations" / "data"),
        "citation_cache_lock_dir": str(folder / "citations" / "lock"),
        "template_cache_path": str(folder / "templates"),
        "tool_shed_url": url,
        "id_secret": secrets.token_hex(24),
        "admin_users": ADMIN_EMAIL,
        "bootstrap_admin_api_key": admin_key,
        "logging": logging_settings("tool_shed"),
    }
    path = folder / "tool_shed.yml"
    write_private(path, json.dumps({"tool_shed": tool_shed}, indent=1))
    return path


def _command(port: int) -> list[str]:
    return [
        str(TOOLSHED_VENV / "bin" / "gunicorn"),
        "tool_shed.webapp.fast_factory:factory()",
        *("--worker-class", "galaxy.webapps.galaxy.workers.Worker"),
        *("--bind", f"127.0.0.1:{port}"),
        *("--timeout", "600"),
        "--no-control-socket",
    ]
