"""Matching images and masks by their names, patterns and tables of groups."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpulab.errors import InputError
from gpulab.h5.build_names import NamePattern, match, read_table, stem
from gpulab.h5.images import SourceFile


def files(*names: str, role: str = "image") -> list[SourceFile]:
    return [SourceFile(name, Path("nowhere"), role) for name in names]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "a"),
        ("a.JPEG", "a"),
        ("a.nii.gz", "a"),
        ("a.nii1.gz", "a"),
        ("a.ome.tif", "a"),
        ("patient.v2", "patient.v2"),
        (".png", ".png"),
        ("12", "12"),
    ],
)
def test_endings(name, expected):
    assert stem(name) == expected


def test_match_by_name_keeps_the_order_of_images():
    pairs = match(files("b.jpg", "a.jpg"), files("a.png", "b.png", role="mask"))
    assert [(p.name, p.image.identifier, p.mask.identifier) for p in pairs] == [
        ("b", "b.jpg", "b.png"),
        ("a", "a.jpg", "a.png"),
    ]


def test_match_names_what_is_alone():
    with pytest.raises(InputError) as caught:
        match(files(*"abcdefgh"), files("a", "x", role="mask"))
    text = str(caught.value)
    assert "7 images without a mask: b, c, d, e, f and 2 more" in text
    assert "1 masks without an image: x" in text


def test_match_refuses_the_same_name_twice():
    with pytest.raises(InputError, match=r"a\.png and a\.jpg have the same name"):
        match(files("a.png", "a.jpg"), None)
    with pytest.raises(InputError, match="There is no image"):
        match([], None)
    two = NamePattern(r"_(\d)", "names")
    with pytest.raises(InputError, match="masks m_1 and n_1"):
        match(files("i_1"), files("m_1", "n_1", role="mask"), two, two)


NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="."), min_size=1, max_size=20),
    min_size=1,
    max_size=15,
    unique=True,
)


@settings(deadline=None)
@given(names=NAMES, data=st.data())
def test_match_finds_every_mask_in_any_order(names, data):
    shuffled = data.draw(st.permutations(names))
    pairs = match(
        files(*[name + ".png" for name in names]),
        files(*[name + ".nii.gz" for name in shuffled], role="mask"),
    )
    assert [pair.image.identifier[:-4] for pair in pairs] == names
    assert all(p.mask.identifier == p.image.identifier[:-4] + ".nii.gz" for p in pairs)


@settings(deadline=None)
@given(numbers=st.lists(st.integers(0, 10**6), min_size=1, max_size=15, unique=True))
def test_match_by_pattern(numbers):
    pairs = match(
        files(*[f"image_{n}.png" for n in numbers]),
        files(*[f"seg-{n}-final.png" for n in reversed(numbers)], role="mask"),
        NamePattern(r"image_(\d+)", "names of images"),
        NamePattern(r"seg-(\d+)-", "names of masks"),
    )
    for number, pair in zip(numbers, pairs, strict=True):
        assert pair.image.identifier == f"image_{number}.png"
        assert pair.mask.identifier == f"seg-{number}-final.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "between 1 and 200"),
        ("x" * 201, "between 1 and 200"),
        (r"(\d+", "no regular expression"),
        (r"\d+", "0 groups"),
        (r"(\d)(\d)", "2 groups"),
        (r"(a{99999999999})", "no regular expression"),
    ],
)
def test_patterns_that_cannot_be_used(text, message):
    with pytest.raises(InputError, match=message):
        NamePattern(text, "names")


def test_pattern_names_what_it_does_not_fit():
    with pytest.raises(InputError, match="does not fit b, c"):
        NamePattern(r"a(\d)", "names").keys(["a1", "b", "c"])


def test_a_catastrophic_pattern_is_stopped():
    start = time.monotonic()
    with pytest.raises(InputError, match="takes longer than 2 seconds"):
        NamePattern(r"((?:a+)+)$", "names").keys(["a" * 60 + "!"])
    assert time.monotonic() - start < 4


def test_patterns_work_outside_the_main_thread():
    found: list[list[str]] = []
    thread = threading.Thread(
        target=lambda: found.append(NamePattern(r"(\d+)", "names").keys(["a1"]))
    )
    thread.start()
    thread.join()
    assert found == [["1"]]


def test_table_of_groups(tmp_path):
    path = tmp_path / "t"
    path.write_text("name\tpatient\na\t1\n\nb\t2\n", encoding="utf-8")
    assert read_table(path, "groups") == {"name": "patient", "a": "1", "b": "2"}
    for text, message in (
        ("a\t1\na\t2\n", "table of groups tells 1 and 2 of a"),
        ("a\n", "Line 1 of the table of groups has 1 columns"),
        ("a\t1\t2\n", "has 3 columns"),
        ("a\t\n", "an empty one"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            read_table(path, "groups")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_table(path, "groups")
