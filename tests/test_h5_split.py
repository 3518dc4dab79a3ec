from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gpulab.errors import InputError
from gpulab.h5.part import open_part
from gpulab.h5.split_assign import assign, foreground_strata, part_sizes
from gpulab.h5.split_job import split_job
from gpulab.jobs import OutputFolder
from gpulab.testing import bad_h5, one_hot, phantom_slices
from gpulab.testing.forms import split_by_fraction

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "tools/h5_dataset/h5_dataset_split.py"
BY_NAME = {
    "mode": "by_name",
    "train_images": "X_train",
    "train_masks": "y_train",
    "valid_images": "X_valid",
    "valid_masks": "y_valid",
    "test_images": "y",
    "test_masks": "label_test",
}
BY_FRACTION = split_by_fraction()


def split(path: Path, out: Path, how: dict[str, Any], seed: int = 42) -> list[dict[str, str]]:
    """Run the job and return the rows of its summary."""
    with OutputFolder(out) as outputs:
        split_job({"dataset": str(path), "seed": seed, "split": how}, outputs)
    lines = [line.split("\t") for line in (out / "summary.tabular").read_text().splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


@pytest.fixture
def combined() -> Path:
    return ROOT / "test-data/combined.h5"


@pytest.fixture
def grouped() -> Path:
    return ROOT / "test-data/grouped.h5"


# Deciding


shares_of = st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.5), (0.34, 0.33, 0.33), (0.9, 0.05, 0.05)])
fractions_of = st.lists(st.sampled_from([0.0, 0.0, 0.01, 0.1, 0.5, 1.0]), min_size=3, max_size=200)


@settings(deadline=None)
@given(shares_of, fractions_of, st.integers(0, 2**32 - 1))
def test_without_groups_sizes_are_exact(
    shares: tuple[float, ...], fractions: list[float], seed: int
) -> None:
    foreground = np.array(fractions)
    parts = assign(shares, seed, foreground)
    assert parts.shape == foreground.shape and parts.min() >= 0 and parts.max() < len(shares)
    sizes = np.bincount(parts, minlength=len(shares))
    assert sizes.min() >= 1
    if len(fractions) >= 20:
        assert np.abs(sizes - np.array(shares) * len(fractions)).max() < 1
    assert np.array_equal(parts, assign(shares, seed, foreground))


@settings(deadline=None)
@given(fractions_of, st.integers(0, 1000))
def test_without_groups_strata_are_shared_out_alike(fractions: list[float], seed: int) -> None:
    foreground, shares = np.array(fractions * 10), np.array((0.8, 0.1, 0.1))
    parts = assign(tuple(shares), seed, foreground)
    for stratum in np.unique(strata := foreground_strata(foreground)):
        sizes = np.bincount(parts[strata == stratum], minlength=3)
        assert np.abs(sizes - shares * sizes.sum()).max() <= 2


@settings(deadline=None, max_examples=60)
@given(
    shares_of,
    st.lists(st.tuples(st.integers(0, 30), st.floats(0, 1)), min_size=3, max_size=150),
    st.integers(0, 2**32 - 1),
)
def test_no_group_is_on_two_sides(
    shares: tuple[float, ...], samples: list[tuple[int, float]], seed: int
) -> None:
    groups = [f"patient {number}" for number, _ in samples]
    foreground = np.array([fraction for _, fraction in samples])
    if len(set(groups)) < len(shares):
        with pytest.raises(InputError, match="groups for"):
            assign(shares, seed, foreground, groups)
        return
    parts = assign(shares, seed, foreground, groups)
    sizes = np.bincount(parts, minlength=len(shares))
    assert sizes.sum() == len(samples) and sizes.min() >= 1
    for group in set(groups):
        assert len({part for part, name in zip(parts, groups, strict=True) if name == group}) == 1
    assert np.array_equal(parts, assign(shares, seed, foreground, groups))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 12), min_size=30, max_size=80), st.integers(0, 1000))
def test_with_groups_sizes_are_near_the_shares(sizes: list[int], seed: int) -> None:
    groups = [str(number) for number, size in enumerate(sizes) for _ in range(size)]
    shares = np.array((0.7, 0.15, 0.15))
    parts = assign(tuple(shares), seed, np.zeros(len(groups)), groups)
    got = np.bincount(parts, minlength=3)
    assert np.abs(got - shares * len(groups)).max() <= max(sizes)


def test_groups_share_out_foreground_and_their_number() -> None:
    random = np.random.default_rng(0)
    groups, foreground = [], []
    for number in range(70):  # few large dark patients, many small bright ones
        size = 150 if number < 10 else 3
        groups += [f"patient {number}"] * size
        foreground += list(random.uniform(0, 0.05 if number < 10 else 0.3, size))
    values = np.array(foreground)
    parts = assign((0.8, 0.1, 0.1), 1, values, groups)
    means = [values[parts == part].mean() for part in range(3)]
    assert max(means) < 1.2 * min(means)
    counts = [len({groups[row] for row in np.flatnonzero(parts == part)}) for part in range(3)]
    assert counts[0] > 40 and min(counts) >= 4


def test_a_sample_without_a_group_name_is_its_own_group() -> None:
    parts = assign((0.5, 0.25, 0.25), 3, np.zeros(40), [""] * 40)
    assert np.bincount(parts).tolist() == [20, 10, 10]


def test_other_seeds_give_other_parts() -> None:
    values = np.random.default_rng(0).random(100)
    assert not np.array_equal(assign((0.8, 0.2), 1, values), assign((0.8, 0.2), 2, values))


def test_too_few_samples() -> None:
    with pytest.raises(InputError, match="only 2 samples for 3 parts"):
        assign((0.8, 0.1, 0.1), 1, np.zeros(2))
    assert sorted(assign((0.8, 0.1, 0.1), 1, np.zeros(3)).tolist()) == [0, 1, 2]
    assert part_sizes(np.array((0.98, 0.01, 0.01)), 5).tolist() == [3, 1, 1]


# The job


def test_by_name_keeps_everything(tmp_path: Path, combined: Path) -> None:
    rows = split(combined, tmp_path, BY_NAME)
    assert [row["samples"] for row in rows] == ["96", "16", "12"]
    with h5py.File(combined) as source:
        for part in ("train", "valid", "test"):
            with open_part(tmp_path / f"{part}.h5") as opened:
                images, masks = BY_NAME[f"{part}_images"], BY_NAME[f"{part}_masks"]
                assert np.array_equal(opened.images[:], source[images][:])
                assert opened.masks is not None
                assert np.array_equal(opened.masks[:], source[masks][:])
                assert opened.images.dtype == source[images].dtype
                assert opened.sample_ids[:2] == [f"{part}_00001", f"{part}_00002"]
                assert opened.groups is None
    with h5py.File(tmp_path / "test.h5") as file:
        assert file.attrs["source_images"] == "y" and file.attrs["split"] == "by_name"
        assert file["images"].compression == "gzip" and file["images"].shuffle
        assert not any("/" in str(value) for value in file.attrs.values())  # no paths
    with Image.open(tmp_path / "preview.png") as picture:
        assert picture.size == (1440, 888)


@pytest.mark.parametrize("stratify", [True, False])
def test_by_fraction_keeps_groups_together(tmp_path: Path, grouped: Path, stratify: bool) -> None:
    rows = split(grouped, tmp_path, BY_FRACTION | {"stratify": stratify})
    assert [row["groups"] for row in rows] == ["8", "1", "1"]
    seen: dict[str, str] = {}
    with h5py.File(grouped) as source:
        names = [name.decode() for name in source["sample_ids"][:]]
        images, masks = source["images"][:], source["masks"][:]
    for part in ("train", "valid", "test"):
        with open_part(tmp_path / f"{part}.h5", weights="sample_weight") as opened:
            assert opened.groups is not None and opened.masks is not None
            assert opened.weights is not None
            for row, (name, group) in enumerate(zip(opened.sample_ids, opened.groups, strict=True)):
                assert name not in seen
                seen[name] = part
                assert np.array_equal(opened.images[row], images[names.index(name)])
                assert np.array_equal(opened.masks[row], masks[names.index(name)])
                assert group == f"patient {names.index(name) % 10:02d}"
                assert opened.weights[row] == (3 if names.index(name) % 10 < 2 else 1)
    assert set(seen) == set(names)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, grouped: Path) -> None:
    for out in ("one", "two", "three"):
        split(grouped, tmp_path / out, BY_FRACTION, seed=2 if out == "three" else 1)
    for name in ("train.h5", "valid.h5", "test.h5", "summary.tabular", "preview.png"):
        one = (tmp_path / "one" / name).read_bytes()
        assert one == (tmp_path / "two" / name).read_bytes()
        assert one != (tmp_path / "three" / name).read_bytes() or name == "summary.tabular"


def test_without_a_test_part(tmp_path: Path, grouped: Path) -> None:
    how = BY_FRACTION | {"train_fraction": 0.75, "valid_fraction": 0.25, "test_fraction": 0}
    rows = split(grouped, tmp_path, how)
    assert [row["part"] for row in rows] == ["train", "valid"]
    assert not (tmp_path / "test.h5").exists()


def test_parts_know_of_classes_that_they_lack(tmp_path: Path) -> None:
    path = tmp_path / "rare.h5"
    masks = np.zeros((12, 8, 8), dtype=np.uint8)
    masks[0, 0, 0] = 3
    bad_h5.write(path, {"images": np.arange(768).reshape(12, 8, 8, 1), "masks": masks})
    rows = split(path, tmp_path / "out", BY_FRACTION)
    assert {row["classes"] for row in rows} == {"4"}
    for part in ("train", "valid", "test"):
        with open_part(tmp_path / "out" / f"{part}.h5") as opened:
            assert opened.classes == 4 and not opened.one_hot


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_types_and_channels_are_kept(tmp_path: Path, channels: int) -> None:
    random = np.random.default_rng(0)
    images = random.normal(0, 1000, (10, 300, 20, channels)).astype(">f4")
    labels = random.integers(0, 3, (10, 300, 20)).astype(np.int16)
    path = tmp_path / "types.h5"
    bad_h5.write(path, {"images": images, "masks": labels[..., None]})
    split(path, tmp_path / "out", BY_FRACTION)
    with h5py.File(tmp_path / "out/train.h5") as file:
        assert file["images"].dtype == ">f4" and file["masks"].dtype == np.int16
        rows = [int(name.decode().split("_")[1]) - 1 for name in file["sample_ids"][:]]
        assert np.array_equal(file["images"][:], images[rows])
        assert np.array_equal(file["masks"][:], labels[rows][..., None])


def test_identical_images_are_found_across_types(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = phantom_slices(12, 16, seed=1)
    images[8:10] = images[:2]
    path = tmp_path / "repeated.h5"
    masks = one_hot(labels)
    arrays: dict[str, Any] = {
        "X_train": images[:6],
        "y_train": masks[:6],
        "X_valid": images[6:8],
        "y_valid": masks[6:8],
        "y": images[8:].astype(np.float32),
        "label_test": masks[8:].astype(np.float64),
    }
    bad_h5.write(path, arrays)
    rows = split(path, tmp_path / "out", BY_NAME)
    assert [row["identical_images_with_other_parts"] for row in rows] == ["2", "0", "2"]
    pairs = "train and test: 2 (train_00001 = test_00001, train_00002 = test_00002)"
    assert [row["identical_pairs"] for row in rows] == [pairs, "none", pairs]
    assert f"Warning: identical images in {pairs}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_fraction": 0.9}, "add up to 1.1, choose fractions that add up to 1"),
        ({"train_fraction": float("nan")}, "must lie between 0 and 1"),
        ({"train_fraction": 1.1, "valid_fraction": -0.2}, "must lie between 0 and 1"),
        ({"train_fraction": 0, "valid_fraction": 0.9}, "must be above 0"),
        ({"groups": "patients"}, "has no dataset patients for the groups, correct the name"),
        ({"sample_ids": "names"}, "has no dataset names for the sample_ids"),
        ({"images": "pictures"}, "has no dataset pictures, it holds groups, images, masks"),
    ],
)
def test_what_cannot_be_split_by_fraction(
    tmp_path: Path, grouped: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        split(grouped, tmp_path / "out", BY_FRACTION | change)
    assert message in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_images": "X_train"}, "X_train is given twice"),
        ({"test_images": " "}, "name of a sub-dataset is empty"),
        ({"valid_masks": "label_test", "test_masks": "y_valid"}, "16 images in X_valid but 12"),
        ({"test_images": "colour"}, "test images have 3 channels and the train images 1"),
        ({"test_masks": "three"}, "test masks have 3 classes and the train masks 2"),
    ],
)
def test_what_cannot_be_split_by_name(
    tmp_path: Path, combined: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "changed.h5"
    path.write_bytes(combined.read_bytes())
    with h5py.File(path, "a") as file:
        file["colour"] = np.zeros((12, 64, 64, 3))
        file["three"] = one_hot(np.zeros((12, 64, 64), np.uint8), 3)
    with pytest.raises(InputError) as caught:
        split(path, tmp_path / "out", BY_NAME | change)
    assert message in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_is_told_before_it_is_full(
    tmp_path: Path, combined: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    with pytest.raises(InputError, match=r"may take .* KiB but only 9\.8 KiB of the disk are free"):
        split(combined, tmp_path / "out", BY_NAME)


def test_long_copies_say_how_far_they_are(
    tmp_path: Path,
    grouped: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("gpulab.h5.split_copy.SECONDS_BETWEEN_LINES", 0.0)
    split(grouped, tmp_path, BY_FRACTION)
    assert "Copied 60 of 60 samples (100%)" in capsys.readouterr().out


def run_script(path: Path, out: Path, how: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    out.mkdir()
    params = out.parent / "params.json"
    params.write_text(json.dumps({"dataset": str(path), "seed": 1, "split": how}))
    # /usr/bin/time is not on every machine; the child reports its own peak.
    code = (
        "import runpy, sys, resource, atexit\n"
        "atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))\n"
        f"sys.argv = ['split', '--params', {str(params)!r}]\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=out,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "MPLCONFIGDIR": str(out.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_script_says_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bad.h5"
    bad_h5.nan_images(path)  # found only while the parts are being written
    done = run_script(path, tmp_path / "out", BY_FRACTION)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "NaN or infinity in sample 5" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for name, count in (("small", 300), ("large", 3000)):  # 25 MB and 246 MB unpacked
        path = tmp_path / f"{name}.h5"
        images, labels = phantom_slices(30, 128, seed=4)
        with h5py.File(path, "w") as file:
            shape = (count, 128, 128, 1)
            file.create_dataset("images", shape, "f4", chunks=(32, *shape[1:]), compression=1)
            file.create_dataset("masks", shape, "u1", chunks=(32, *shape[1:]), compression=1)
            for start in range(0, count, 30):
                file["images"][start : start + 30] = images + np.float32(start)
                file["masks"][start : start + 30, ..., 0] = labels
        done = run_script(path, tmp_path / name, BY_FRACTION)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.splitlines()[-1]) / 1024)
    small, large = peaks
    assert large < small + 64, f"{small:.0f} MiB for the small file, {large:.0f} for the large"
