from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpulab.errors import InputError
from gpulab.h5.chunks import lzf_length
from gpulab.h5.limits import BEST_COMPRESSION, in_words, readable
from gpulab.h5.part import open_part
from gpulab.h5.safe import get_dataset, list_datasets, open_untrusted, read_strings
from gpulab.testing import bad_h5

IN_ACCESS, IN_OPEN, IN_NONBLOCK = 0x001, 0x020, os.O_NONBLOCK
SECRET = b"a secret of this machine" * 100


@contextmanager
def opened_watch(path: Path) -> Iterator[list[str]]:
    """Ask the kernel (inotify(7)) whether anybody opens or reads a file; fills the list."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(IN_NONBLOCK)
    assert descriptor >= 0
    assert libc.inotify_add_watch(descriptor, os.fsencode(path), IN_OPEN | IN_ACCESS) >= 0
    events: list[str] = []
    try:
        yield events
        with suppress(BlockingIOError):
            events.append(f"{len(os.read(descriptor, 65536))} bytes of events")
    finally:
        os.close(descriptor)


def read_all(path: Path) -> None:
    with open_part(path) as part:
        for start, stop in part.batches():
            part.read_images(start, stop)
            part.read_labels(start, stop)


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_all(path)
    message = str(caught.value)
    assert "\n" not in message and "Traceback" not in message
    return message


EXPECTED = {
    "external_link": "images of the training data is a link to another file",
    "soft_link_out": "images of the training data is a link to another file",
    "external_storage": "keeps its data in an external file",
    "virtual": "is virtual",
    "truncated": "truncated or damaged",
    "not_hdf5": "is not an HDF5 file",
    "no_masks": "has no dataset masks, it holds images, segmentation",
    "empty": "is empty",
    "fewer_masks": "8 images in images but 7 masks in masks",
    "smaller_masks": "masks of 8 x 8 pixels for images of 16 x 16",
    "odd_values": "holds the values 0, 17, 255, which are no classes",
    "soft_masks": "holds the value 0.25, which is no class",
    "overlapping_masks": "is not one-hot: sample 2",
    "nan_images": "NaN or infinity in sample 5",
    "infinite_images": "NaN or infinity in sample 6",
    "string_images": "holds strings",
    "object_images": "lists of differing length (objects)",
    "compound_images": "compound values",
    "reference_images": "references",
    "declared_too_large": "declares 90.9 TiB but the file holds only 0 bytes",
    "huge_chunks": "chunks of 1.0 GiB, more than 512.0 MiB",
    "short_chunk": "does not unpack to the size declared",
    "chunk_bomb": "does not unpack to the size declared",
    "other_filter": "filter 6 (scaleoffset)",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bad.h5"
    bad_h5.BAD_FILES[name](path)
    assert EXPECTED[name] in refusal(path)


def test_every_bad_file_has_its_sentence() -> None:
    assert set(bad_h5.BAD_FILES) - set(EXPECTED) == {"two_groups"}  # bad for a split alone


@pytest.mark.parametrize("name", ["external_link", "soft_link_out", "external_storage", "virtual"])
def test_no_other_file_is_opened(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret.h5"
    bad_h5.write(secret, bad_h5.good_arrays())
    path = tmp_path / "bad.h5"
    bad_h5.BAD_FILES[name](path, str(secret))

    # The trap works: plain h5py does open the other file.
    with opened_watch(secret) as events, h5py.File(path) as file:
        file["images"][:1]
    assert events

    with opened_watch(secret) as events:
        refusal(path)
    assert not events


@pytest.mark.parametrize("name", ["external_link", "soft_link_out", "external_storage", "virtual"])
def test_listing_what_is_there_opens_no_other_file(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret.h5"
    bad_h5.write(secret, bad_h5.good_arrays())
    path = tmp_path / "bad.h5"
    bad_h5.BAD_FILES[name](path, str(secret))
    with opened_watch(secret) as events, open_untrusted(path, "input") as file:
        assert "masks" in list_datasets(file)
        with pytest.raises(InputError, match="has no dataset nothing"):
            get_dataset(file, "nothing", "input")
    assert not events


def test_external_storage_cannot_read_a_secret_of_any_type(tmp_path: Path) -> None:
    secret = tmp_path / "passwd"
    secret.write_bytes(SECRET)
    path = tmp_path / "bad.h5"
    bad_h5.external_storage(path, str(secret))
    with h5py.File(path) as file:
        assert file["images"][:].tobytes().startswith(b"a secret")  # what h5py alone would do
    with opened_watch(secret) as events:
        refusal(path)
    assert not events


def test_sample_names_cannot_come_from_elsewhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    bad_h5.write(secret, bad_h5.good_arrays() | {"groups": np.array([b"x"] * bad_h5.N)})
    path = tmp_path / "bad.h5"
    bad_h5.write(path, bad_h5.good_arrays())
    with h5py.File(path, "a") as file:
        file["groups"] = h5py.ExternalLink(str(secret), "/groups")
    with opened_watch(secret) as events:
        assert "groups of the training data is a link to another file" in refusal(path)
    assert not events


def test_a_fifo_or_a_device_is_no_input(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)  # opening it would wait for a writer forever
    assert "is not a regular file" in refusal(fifo)
    assert "is not a regular file" in refusal(Path("/dev/zero"))
    assert "is not a regular file" in refusal(tmp_path)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "nothing.h5")
    (tmp_path / "empty.h5").touch()
    assert "is an empty file" in refusal(tmp_path / "empty.h5")


def test_links_inside_the_file_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "inside.h5"
    arrays = bad_h5.good_arrays()
    with h5py.File(path, "w") as file:
        file["real/deep/pictures"] = arrays["images"]
        file["real/labels"] = arrays["masks"]
        file["images"] = h5py.SoftLink("/real/shortcut/pictures")
        file["real/shortcut"] = h5py.SoftLink("deep")  # relative to the group that holds it
        file["masks"] = file["real/labels"]  # a second hard link
    with open_part(path) as part:
        assert np.array_equal(part.read_images(0, 8), arrays["images"])


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    path = tmp_path / "circle.h5"
    bad_h5.write(path, {})
    with h5py.File(path, "a") as file:
        file["images"] = h5py.SoftLink("/again")
        file["again"] = h5py.SoftLink("/images")
        file["loop"] = file["/"]
    assert "chain of links without an end" in refusal(path)
    with open_untrusted(path, "input") as file:
        assert list_datasets(file) == []
        with pytest.raises(InputError, match="is a group"):
            get_dataset(file, "loop/loop", "input")
        with pytest.raises(InputError, match="no dataset"):
            get_dataset(file, "loop/x", "input")


def test_a_user_block_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "block.h5"
    arrays = bad_h5.good_arrays()
    with h5py.File(path, "w", userblock_size=1024) as file:
        file["images"], file["masks"] = arrays["images"], arrays["masks"]
    read_all(path)


def test_names_out_of_the_file_cannot_forge_output(tmp_path: Path) -> None:
    path = tmp_path / "names.h5"
    with h5py.File(path, "w") as file:
        file["a\nINFO: all is well\x1b[2K"] = np.zeros((1, 2, 2, 1))
        file["\udcff".encode("utf-8", "surrogateescape")] = np.zeros(3)
        file["x" * 5000] = np.zeros(3)
        for index in range(60):
            file[f"many/{index}"] = np.zeros(1)
    message = refusal(path)
    message.encode("utf-8")
    assert message.isprintable()
    assert len(message) < 2000
    assert message.count("many/") <= 20 and "…" in message


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"compression": "lzf"},
        {"compression": "lzf", "shuffle": True, "fletcher32": True},
        {"fletcher32": True},
        {"shuffle": True},
        {},
    ],
)
@pytest.mark.parametrize("dtype", ["u1", ">i2", "<f4", "f8", "f2", "i8", "?"])
def test_accepted_filters_and_types(tmp_path: Path, options: dict[str, object], dtype: str) -> None:
    path = tmp_path / "filters.h5"
    random = np.random.default_rng(0)
    for values in (random.integers(0, 2, (9, 24, 24, 1)), random.integers(0, 99, (9, 24, 24, 1))):
        with h5py.File(path, "w") as file:
            data = values.astype(dtype)
            file.create_dataset("images", data=data, chunks=(4, 24, 16, 1), **options)
        with open_untrusted(path, "input") as file:
            assert np.array_equal(get_dataset(file, "images", "input")[:], data)


@pytest.mark.parametrize("dtype", ["S5", h5py.enum_dtype({"A": 1}), np.dtype("V8"), "(3,)f4", "g"])
def test_other_types_are_refused(tmp_path: Path, dtype: object) -> None:
    path = tmp_path / "types.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", shape=(2, 2, 2, 1), dtype=dtype)
    with open_untrusted(path, "input") as file, pytest.raises(InputError, match=r"holds|no number"):
        get_dataset(file, "images", "input")


def test_sizes_by_parameter(tmp_path: Path) -> None:
    path = tmp_path / "good.h5"
    bad_h5.write(path, bad_h5.good_arrays())
    with open_untrusted(path, "input") as file:
        get_dataset(file, "images", "input", max_bytes=2048)
        with pytest.raises(InputError, match=r"needs 2\.0 KiB, more than the 2\.0 KiB"):
            get_dataset(file, "images", "input", max_bytes=2047)


def test_best_compression_is_an_upper_bound(tmp_path: Path) -> None:
    path = tmp_path / "zeros.h5"
    with h5py.File(path, "w") as file:
        data = np.zeros((64, 1024, 1024, 1), dtype=np.uint8)
        images = file.create_dataset("images", data=data, compression=9, chunks=data.shape)
        assert data.nbytes / images.id.get_storage_size() < BEST_COMPRESSION


def test_unwritten_chunks_of_moderate_size_are_fill_values(tmp_path: Path) -> None:
    path = tmp_path / "sparse.h5"
    with h5py.File(path, "w") as file:
        masks = file.create_dataset("masks", shape=(100, 64, 64), dtype="u1", chunks=(1, 64, 64))
        masks[3, 4, 4] = 1
        file["images"] = np.ones((100, 64, 64, 1), dtype=np.uint8)
    with open_part(path) as part:
        assert np.flatnonzero(part.foreground_fraction()).tolist() == [3]


def test_names_that_are_too_long_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.h5"
    bad_h5.write(path, bad_h5.good_arrays())
    with h5py.File(path, "a") as file:
        file.create_dataset("groups", data=["x" * 2000] * bad_h5.N, dtype=h5py.string_dtype())
        file["sample_ids"] = np.array([b"y" * 5000] * bad_h5.N)
        file["numbers"] = np.arange(3)
        file["control"] = np.array([b"a\tb\nc", b"\xff", "ü".encode()])
    with open_untrusted(path, "input") as file:
        names = get_dataset(file, "groups", "input", strings=True)
        with pytest.raises(InputError, match="more than 1024 characters"):
            read_strings(names, "input")
        with pytest.raises(InputError, match="too long"):
            get_dataset(file, "sample_ids", "input", strings=True)
        numbers = get_dataset(file, "numbers", "input", strings=True)
        assert read_strings(numbers, "input") == ["0", "1", "2"]
        control = get_dataset(file, "control", "input", strings=True)
        assert read_strings(control, "input") == ["a?b?c", "\ufffd", "ü"]


@pytest.fixture(scope="module")
def good_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "good.h5"
    bad_h5.write(path, bad_h5.good_arrays())
    return path.read_bytes()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_truncated_file_is_read_or_refused(
    tmp_path: Path, good_bytes: bytes, data: st.DataObject
) -> None:
    keep = data.draw(st.integers(0, len(good_bytes)))
    path = tmp_path / "cut.h5"
    path.write_bytes(good_bytes[:keep])
    try:
        read_all(path)
    except InputError:
        assert keep < len(good_bytes)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_hole_of_zeros_is_read_or_refused(
    tmp_path: Path, good_bytes: bytes, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(good_bytes) - 1))
    stop = data.draw(st.integers(start, len(good_bytes)))
    path = tmp_path / "hole.h5"
    path.write_bytes(good_bytes[:start] + bytes(stop - start) + good_bytes[stop:])
    with suppress(InputError):
        read_all(path)


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 40))
def test_lzf_length_agrees_with_the_filter(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, repeats: int
) -> None:
    content = (content or b"x") * repeats
    path = tmp_path_factory.mktemp("lzf") / "lzf.h5"
    with h5py.File(path, "w") as file:
        data = np.frombuffer(content, dtype=np.uint8)
        values = file.create_dataset("x", data=data, chunks=data.shape, compression="lzf")
        mask, packed = values.id.read_direct_chunk((0,))
    if mask == 0:  # data that do not shrink are stored as they are
        assert lzf_length(packed) == len(content)
        assert lzf_length(packed[:-1]) != len(content)


def test_an_input_error_answers_before_heavy_libraries_are_there() -> None:
    code = "import sys, gpulab.h5.split_job as _; print([n for n in ('tensorflow', 'matplotlib', "
    code += "'scipy', 'skimage') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_words() -> None:
    assert in_words(17) == "17 bytes"
    assert in_words(1536) == "1.5 KiB"
    assert in_words(100 * 10**12) == "90.9 TiB"
    assert readable("a\x00b") == "a?b"
    assert len(readable("x" * 500)) == 80
