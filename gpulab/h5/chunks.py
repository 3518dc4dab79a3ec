"""Checking that every compressed chunk unpacks to exactly the size that the file declares.

HDF5 (seen with 1.14.6) trusts its filters: of a chunk that unpacks to less than its declared size
it copies the rest from whatever lies behind in the memory of the process, which would end up in the
pictures; and a chunk that unpacks to more is unpacked to its end, however much memory that takes.
"""

from __future__ import annotations

import math
import zlib

from h5py import h5d, h5z

from gpulab.errors import InputError

MAX_CHUNKS = 2_000_000
_CHECKSUM_BYTES = 4
COMPRESSORS = frozenset({h5z.FILTER_DEFLATE, h5z.FILTER_LZF})
HARMLESS_FILTERS = frozenset({h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32})


def check_chunks(identifier: h5d.DatasetID, where: str) -> None:
    """Unpack every chunk of a dataset once, within bounds, before HDF5 may do so.

    Args:
        identifier: A dataset whose filters are among those above, at most one of them a compressor.
        where: Names the dataset and the input in messages.

    Raises:
        InputError: A chunk has another size than declared, or there are too many chunks.
    """
    plan = identifier.get_create_plist()
    if plan.get_layout() != h5d.CHUNKED:
        return
    count = identifier.get_num_chunks()
    if count > MAX_CHUNKS:
        raise InputError(f"The {where} is stored in {count} chunks, store it in larger ones")
    declared = math.prod(plan.get_chunk()) * identifier.get_type().get_size()
    filters = [plan.get_filter(index)[0] for index in range(plan.get_nfilters())]
    stored: list[h5d.StoreInfo] = []
    identifier.chunk_iter(stored.append)
    for info in stored:
        if not _fits(identifier, info, filters, declared):
            raise InputError(
                f"The {where} holds a chunk that does not unpack to the size declared, the file is "
                f"damaged or was tampered with, make it anew"
            )


def _fits(
    identifier: h5d.DatasetID, info: h5d.StoreInfo, filters: list[int], declared: int
) -> bool:
    """Tell whether one chunk unpacks to its declared size."""
    # A bit of the mask says that a filter was left out for this chunk.
    used = [number for bit, number in enumerate(filters) if not info.filter_mask >> bit & 1]
    packers = [index for index, number in enumerate(used) if number in COMPRESSORS]
    checksums = [index for index, number in enumerate(used) if number == h5z.FILTER_FLETCHER32]
    if not packers:
        return bool(info.size == declared + _CHECKSUM_BYTES * len(checksums))
    packer = packers[0]
    unpacked = declared + _CHECKSUM_BYTES * sum(index < packer for index in checksums)
    behind = _CHECKSUM_BYTES * sum(index > packer for index in checksums)
    # No packer makes data much longer: a chunk stored at more is a bomb or damage.
    if not behind < info.size <= 2 * unpacked + 4096:
        return False
    _, packed = identifier.read_direct_chunk(info.chunk_offset)
    packed = packed[: len(packed) - behind] if behind else packed
    if used[packer] == h5z.FILTER_LZF:
        return lzf_length(packed) == unpacked
    return _deflate_length(packed, unpacked) == unpacked


def _deflate_length(packed: bytes, wanted: int) -> int:
    """Return how many bytes a zlib stream unpacks to, at most `wanted` + 1; -1 if it is damaged."""
    unpacker = zlib.decompressobj()
    try:
        length = len(unpacker.decompress(packed, wanted + 1))
        # The end mark and the checksum of the stream may still be waiting.
        length += 0 if unpacker.eof else len(unpacker.decompress(unpacker.unconsumed_tail, 1))
    except zlib.error:
        return -1
    return length if unpacker.eof else -1


def lzf_length(packed: bytes) -> int:
    """Return how many bytes an LZF stream unpacks to; -1 for a damaged one.

    The format (liblzf, Marc Lehmann): a byte below 32 says that so many bytes plus one follow as
    they are; any other byte is a copy of earlier output, its upper three bits the length minus two,
    where 7 means that a further byte is to be added, and one byte of offset follows.
    """
    position, length, end = 0, 0, len(packed)
    while position < end:
        control = packed[position]
        if control < 32:
            position += control + 2
            length += control + 1
            continue
        run = control >> 5
        offset_at = position + 1
        if run == 7:
            if offset_at >= end:
                return -1
            run += packed[offset_at]
            offset_at += 1
        if offset_at >= end:
            return -1
        if ((control & 31) << 8 | packed[offset_at]) + 1 > length:
            return -1
        length += run + 2
        position = offset_at + 1
    return length if position == end else -1
