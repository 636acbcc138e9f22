"""The structure of messages: always one, inside its octets, in linear time."""
# SPDX-License-Identifier: Apache-2.0

from mta.wire.mime import addresses, decode_words, envelope, headers, parse, text

FILES = ("/mta/wire/mime/",)
SEEDS = (
    (
        b'From: "a" <a@b.test>, g: c@d;\r\nSubject: =?utf-8?q?x=C3=BC?=\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nx\r\n--b\r\n'
        b"Content-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nz\r\n--b--\r\n"
    ),
    b"Content-Type: text/html; charset*=utf-8'en'x%20; name*0=a; name*1*=%41\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+eDwvYj4=\r\n",
)
WORDS = (
    b"\r\n", b"\n", b"--b\r\n", b"--b--\r\n", b"Content-Type: ", b"multipart/mixed; boundary=", b"message/rfc822", b"Content-Transfer-Encoding: ",
    b"base64", b"quoted-printable", b"=?utf-8?b?", b"?=", b"*0*=", b"%41", b"<", b">", b"(", b")", b'"', b"\\", b",", b";", b":", b"@",
)  # fmt: skip


def run(octets: bytes) -> None:
    root = parse(octets)
    for entity in root.walk():
        assert 0 <= entity.header_start <= entity.body_start <= entity.end <= len(octets)
        _ = entity.disposition, entity.filename, entity.parameters, entity.encoding
    envelope(root, octets)
    headers(octets)
    text(root, octets)
    addresses(octets[:300])
    decode_words(octets[:300].decode("latin-1"))
