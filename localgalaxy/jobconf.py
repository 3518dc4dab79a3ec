"""Reads `deploy/job_conf.yml`, so that a test runs what an administrator copies."""

from __future__ import annotations

from typing import Any

import yaml

from localgalaxy.paths import ROOT

JOB_CONF = ROOT / "deploy" / "job_conf.yml"


def deployed() -> dict[str, Any]:
    """Return what is in `deploy/job_conf.yml`."""
    content: dict[str, Any] = yaml.safe_load(JOB_CONF.read_text(encoding="utf-8"))
    return content
