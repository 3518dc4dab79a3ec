"""The defaults of the form are those of the program, and an empty number of epochs is chosen."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpulab.unet.settings import (
    CPU_STEPS,
    FEWEST_EPOCHS,
    GPU_STEPS,
    MOST_EPOCHS,
    TrainingSettings,
    settings_from_params,
)

TOOL = Path(__file__).parents[1] / "tools" / "unet_train" / "unet_train.xml"


@pytest.mark.parametrize(("steps", "fast", "epochs"), [(162, False, 20), (162, True, 50)])
def test_the_steps_decide_on_the_epochs(steps: int, fast: bool, epochs: int) -> None:
    assert TrainingSettings().epochs_for(steps, fast=fast) == epochs


@given(st.integers(1, 10**6), st.booleans())
def test_an_empty_number_of_epochs_reaches_the_steps_within_its_bounds(
    steps: int, fast: bool
) -> None:
    epochs = TrainingSettings().epochs_for(steps, fast=fast)
    assert FEWEST_EPOCHS <= epochs <= MOST_EPOCHS
    wanted = GPU_STEPS if fast else CPU_STEPS
    assert epochs * steps >= wanted or epochs == MOST_EPOCHS
    assert (epochs - 1) * steps < wanted or epochs == FEWEST_EPOCHS


def test_a_given_number_of_epochs_is_taken() -> None:
    settings = settings_from_params({"optimiser": {"epochs": 7, "patience": None}})
    assert settings.epochs_for(1, fast=True) == 7
    assert settings.patience == TrainingSettings().patience


def test_the_form_has_the_programs_defaults() -> None:
    form: dict[str, str] = {}
    root = ElementTree.parse(TOOL).getroot()
    for param in root.findall("./inputs//param"):
        name = param.get("name", "")
        if param.get("type") == "select":
            (chosen,) = [
                o.get("value", "") for o in param.findall("option") if o.get("selected")
            ] or [""]
        elif param.get("type") == "boolean":
            chosen = "True" if param.get("checked") == "true" else "False"
        else:
            chosen = param.get("value", "0")
        form[name] = chosen
    for name, value in asdict(TrainingSettings()).items():
        expected = str(value) if not isinstance(value, float) else float(value)
        shown = form[name] if not isinstance(value, float) else float(form[name])
        assert shown == expected, name


def test_the_help_names_the_programs_steps() -> None:
    tokens = {t.get("name"): t.text for t in ElementTree.parse(TOOL).getroot().iter("token")}
    assert tokens["@CPU_STEPS@"] == str(CPU_STEPS)
    assert tokens["@GPU_STEPS@"] == str(GPU_STEPS)
