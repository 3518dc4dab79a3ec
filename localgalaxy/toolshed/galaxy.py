"""A Galaxy that has none of our tools and may install from one Tool Shed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from localgalaxy.paths import CONFIG, STATE
from localgalaxy.settings import Adapt
from localgalaxy.toolshed.server import ToolShed

INSTALLED = STATE / "shed_tools"
TABLES = CONFIG / "shed_tool_data_table_conf.xml"


def configure(shed_url: str) -> Adapt:
    """Return what makes of the local Galaxy's settings those of a Galaxy without our tools.

    Its tables, data managers and files for tests are those that come with what is installed.
    """

    def change(config: dict[str, Any]) -> dict[str, Any]:
        sheds = f"<tool_sheds><tool_shed name='ours' url={quoteattr(shed_url)}/></tool_sheds>"
        toolbox = f"<toolbox tool_path={quoteattr(str(INSTALLED))}/>"
        INSTALLED.mkdir(exist_ok=True)
        return config | {
            "tool_sheds_config_file": _write("tool_sheds_conf.xml", sheds),
            "shed_tool_config_file": _write("shed_tool_conf.xml", toolbox),
            "tool_data_table_config_path": _write("no_tables.xml", "<tables/>"),
            "data_manager_config_file": _write("no_data_managers.xml", "<data_managers/>"),
            "shed_tool_data_table_config": _write(TABLES.name, "<tables/>"),
            "tool_data_path": _folder("tool-data"),
            "tool_test_data_directories": _folder("no-test-data"),
        }

    return change


def installed_folder(shed: ToolShed, name: str, revision: str) -> Path:
    """Return the folder into which Galaxy cloned a repository; it leaves the port out."""
    host = shed.host.partition(":")[0]
    return INSTALLED / host / "repos" / shed.owner / name / revision / name


def _write(name: str, text: str) -> str:
    path = CONFIG / name
    path.write_text(f"{text}\n", encoding="utf-8")
    return str(path)


def _folder(name: str) -> str:
    path: Path = STATE / name
    path.mkdir(exist_ok=True)
    return str(path)
