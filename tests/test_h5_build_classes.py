"""From the values of masks to classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpulab.errors import InputError
from gpulab.h5.build_classes import Classes, ClassRule, ValueSurvey, parse_classes
from gpulab.h5.images import SourceFile


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,1,2", {0: 0, 1: 1, 2: 2}),
        (" 0 , 255 ", {0: 0, 255: 1}),
        ("0:0,255:1", {0: 0, 255: 1}),
        ("0:0,1:1,2:1", {0: 0, 1: 1, 2: 1}),
        ("7:1, 9:0", {7: 1, 9: 0}),
    ],
)
def test_lists_of_values(text, expected):
    assert parse_classes(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not understood"),
        ("a,b", "not understood"),
        ("0,1:1", "not understood"),
        ("-1,0", "not understood"),
        ("0,0", "every value once"),
        ("0:0,0:1", "every value once"),
        ("0,99999", "none above"),
        ("0:0,1:2", "without a gap"),
        ("0:0", "at least 2"),
        ("5:1,6:2", "without a gap"),
        (",".join(map(str, range(65))), "at most 64"),
        ("1," * 1001, "too long"),
    ],
)
def test_lists_of_values_that_cannot_be_used(text, message):
    with pytest.raises(InputError, match=message):
        parse_classes(text)


def classes_of(*masks: np.ndarray, rule: ClassRule | None = None, lossy: bool = False) -> Classes:
    survey = ValueSurvey(rule or ClassRule())
    for mask in masks:
        survey.add(SourceFile("m", Path("nowhere"), "mask"), mask, lossy)
    return survey.classes()


@settings(deadline=None)
@given(
    values=st.sets(st.integers(1, 65535), min_size=1, max_size=7),
    dtype=st.sampled_from([np.uint16, np.int32, np.float32, np.float64]),
    data=st.data(),
)
def test_automatic_classes_are_the_sorted_values(values, dtype, data):
    ordered = [0, *sorted(values)]
    picked = data.draw(st.lists(st.sampled_from(ordered), min_size=9, max_size=9))
    mask = np.array(picked + ordered).astype(dtype)
    found = classes_of(mask, np.zeros((2, 2), dtype))
    assert found.count == len(ordered)
    assert found.apply(mask).tolist() == [ordered.index(value) for value in [*picked, *ordered]]


@settings(deadline=None)
@given(data=st.data())
def test_a_list_joins_values(data):
    values = data.draw(st.lists(st.integers(0, 999), min_size=2, max_size=12, unique=True))
    classes = data.draw(st.integers(2, len(values)))
    numbers = [index % classes for index in range(len(values))]
    rule = ClassRule("list", parse_classes(",".join(map("{}:{}".format, values, numbers))))
    mask = np.array(data.draw(st.lists(st.sampled_from(values), min_size=1, max_size=20)))
    found = classes_of(mask, rule=rule)
    assert found.count == classes
    expected = dict(zip(values, numbers, strict=True))
    assert found.apply(mask).tolist() == [expected[value] for value in mask.tolist()]


def test_automatic_classes_of_all_masks_together():
    found = classes_of(np.array([0, 2]), np.array([0, 5]))
    assert found.apply(np.array([0, 2, 5])).tolist() == [0, 1, 2]
    assert found.description == "0: class 0, 2: class 1, 5: class 2"


@pytest.mark.parametrize(
    ("mask", "rule", "message"),
    [
        (np.arange(20), ClassRule(), "more than 8 different values"),
        (np.array([0, 0.5]), ClassRule(), "broken numbers such as 0.5"),
        (np.array([-1, 0]), ClassRule(), "values from -1 to 0"),
        (np.array([0, 70000]), ClassRule(), "0 to 70000"),
        (np.zeros(4), ClassRule(), "All masks are empty"),
        (np.array([0, 3]), ClassRule("list", {0: 0, 1: 1}), "the values 3 that are not in the"),
    ],
)
def test_masks_that_are_no_classes(mask, rule, message):
    with pytest.raises(InputError, match=message):
        classes_of(mask, rule=rule)


def test_lossy_masks_are_cut_at_half():
    mask = np.array([0, 3, 9, 120, 130, 250, 255] + [0] * 93, dtype=np.uint8)
    found = classes_of(mask, lossy=True)
    assert found.apply(mask, lossy=True)[:7].tolist() == [0, 0, 0, 0, 1, 1, 1]
    with pytest.raises(InputError, match="many values between black and white"):
        classes_of(np.full(9, 128, np.uint8), lossy=True)
    survey = ValueSurvey(ClassRule())
    survey.add(SourceFile("m", Path("x"), "mask"), mask, True)
    survey.add(SourceFile("n", Path("x"), "mask"), np.array([0, 1]), False)
    with pytest.raises(InputError, match="save all of them as PNG"):
        survey.classes()


def test_threshold():
    found = classes_of(np.arange(20), rule=ClassRule("threshold", threshold=9.5))
    assert found.apply(np.array([0, 9, 10])).tolist() == [0, 0, 1]
    assert found.count == 2
