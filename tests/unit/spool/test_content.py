# SPDX-License-Identifier: Apache-2.0
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.errors import OverQuota, StorageDead, StorageFull, StorageReadOnly, TemporaryFailure
from mta.model.message import OctetContent
from mta.spool.accept import reply_for
from mta.spool.content import JoinedContent, SpooledContent, join, storage_failure
from mta.spool.ids import new_queue_id


def fill(content: SpooledContent, pieces: list[bytes]) -> bytes:
    for piece in pieces:
        content.write(piece)
        if content.full:
            content.spill()
    content.finish()
    return b"".join(pieces)


def test_small_content_touches_no_disk() -> None:
    content = SpooledContent(100, "/nonexistent")
    octets = fill(content, [b"a" * 50, b"b" * 50])
    assert content.in_memory
    assert (content.raw(), content.size) == (octets, 100)


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(1, 60), st.integers(1, 70))
def test_memory_or_file_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], limit: int, size: int
) -> None:
    content = SpooledContent(limit, str(tmp_path_factory.getbasetemp() / "spool"))
    octets = fill(content, pieces)
    for _ in range(2):
        assert b"".join(content.chunks(size)) == octets
        assert all(len(chunk) <= size for chunk in content.chunks(size))
        assert content.raw() == octets
    for start in (0, len(octets) // 2, len(octets)):
        joined = join(b"head", content, start)
        assert joined.raw() == b"head" + octets[start:] == b"".join(joined.chunks(size))
        assert joined.size == 4 + len(octets) - start


def test_the_file_has_no_name_and_goes_with_the_last_reader(tmp_path: Path) -> None:
    content = SpooledContent(10, str(tmp_path / "tmp"))
    octets = fill(content, [b"x" * 20, b"y" * 5])
    assert os.listdir(tmp_path / "tmp") == []
    before = len(os.listdir("/proc/self/fd"))
    joined = join(b"", content, 0)
    assert isinstance(joined, JoinedContent)
    del content
    assert joined.raw() == octets
    del joined
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_single_octets_do_not_multiply() -> None:
    content = SpooledContent(10_000, "/nonexistent")
    for _ in range(5000):
        content.write(b"x")
    assert len(content._pieces) <= 256


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    content = SpooledContent(1, str(blocked))
    content.write(b"xx")
    with pytest.raises(TemporaryFailure):
        content.spill()
    assert isinstance(storage_failure(OSError(errno.ENOSPC, "")), StorageFull)
    assert isinstance(storage_failure(OSError(errno.EROFS, "")), StorageReadOnly)


def test_failures_have_their_replies() -> None:
    for failure, reply in (
        (StorageFull(), "452 4.3.1"),
        (StorageReadOnly(), "451 4.3.0"),
        (TemporaryFailure(), "451 4.3.0"),
        (OverQuota(), "552 5.2.2"),
        (StorageDead(), "421 4.3.0"),
    ):
        assert str(reply_for(failure)).startswith(reply)


def test_ids_sort_by_time_and_never_repeat() -> None:
    ids = [new_queue_id(1_700_000_000 + n / 1000) for n in range(2000)]
    assert ids == sorted(ids)
    assert len({new_queue_id(1_700_000_000.0) for _ in range(2000)}) == 2000
    assert all(len(id) == 27 and id.isalnum() for id in ids)


def test_octet_content_joins_without_a_file() -> None:
    assert join(b"a", OctetContent(b"bcd"), 1) == OctetContent(b"acd")
