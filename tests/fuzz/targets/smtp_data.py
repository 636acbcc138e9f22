"""The readers of DATA and BDAT: the same whole, in halves and octet by octet; what they let through is lines."""
# SPDX-License-Identifier: Apache-2.0

from mta.wire.mime.lined import lined
from mta.wire.smtp.data import ChunkDecoder, DataDecoder, encode_data

FILES = ("/mta/wire/smtp/data.py", "/mta/wire/mime/lined.py")
SEEDS = (
    b"Subject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n",
    b"..\r\n.\r\n",
    b".\r\n",
    b"a\n.\r\nb\r.\r\n\0",
    b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: binary\r\n\r\n--b\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\n\r\r\n--b--\r\n",
)
WORDS = (
    b"\r\n",
    b"\r\n.\r\n",
    b"\r\n.",
    b"\r",
    b"\n",
    b"\0",
    b"..",
    b"--b\r\n",
    b"--b--\r\n",
    b"Content-Transfer-Encoding: binary\r\n",
    b"\r\n\r\n",
)


def _data(octets: bytes, step: int) -> tuple[bytes, bytes | None, bool]:
    decoder, content = DataDecoder(5000), b""
    for at in range(0, len(octets), step):
        piece, rest = decoder.feed(octets[at : at + step])
        content += piece
        if rest is not None:
            return content if not decoder.fault else b"", rest + octets[at + step :], bool(decoder.fault)
    return content if not decoder.fault else b"", None, bool(decoder.fault)


def _chunks(octets: bytes, step: int) -> tuple[bytes, bool]:
    decoder, content = ChunkDecoder(5000), b""
    for at in range(0, len(octets), step):
        content += decoder.feed(octets[at : at + step])
    content += decoder.end()
    return content if not decoder.fault else b"", bool(decoder.fault)


def _is_lines(octets: bytes) -> bool:
    return octets.count(b"\r\n") == octets.count(b"\n") == octets.count(b"\r") and b"\0" not in octets


def run(octets: bytes) -> None:
    sizes = (max(len(octets), 1), len(octets) // 2 + 1, 7 if len(octets) < 2000 else 61, 1 if len(octets) < 300 else 29)
    whole, *others = [_data(octets, size) for size in sizes]
    for other in others:
        assert other[1] == whole[1]
        assert other[1] is None or other == whole
    if whole[1] is not None and not whole[2]:
        assert _is_lines(whole[0])
        assert _data(encode_data(whole[0]), 5) == (whole[0], b"", False)
    chunk, *rest = [_chunks(octets, size) for size in sizes]
    assert all(other == chunk for other in rest)
    assert _is_lines(chunk[0])
    try:
        assert _is_lines(lined(octets))
    except ValueError:
        assert not _is_lines(octets) or b"binary" in octets.lower()
