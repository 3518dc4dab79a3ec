"""What the checks of deploy/ share; they run in `.venvs/deploy`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
JOB_CONF = DEPLOY / "job_conf.yml"
TPV_FILES = [DEPLOY / "tpv" / "tools.yml", DEPLOY / "tpv" / "destinations.yml"]
