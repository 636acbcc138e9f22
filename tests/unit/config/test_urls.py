"""Listen URLs."""
# SPDX-License-Identifier: Apache-2.0

import pytest

from mta.config.sections import Listener
from mta.config.urls import Endpoint, parse_listen
from mta.net.listener import ListenerSpec


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("smtp://127.0.0.1:2525", Endpoint("smtp", "127.0.0.1", 2525, "")),
        ("imaps://[::1]:9993", Endpoint("imaps", "::1", 9993, "")),
        ("imaps://[::]", Endpoint("imaps", "::", 993, "")),
        ("submissions://mx.example.test/", Endpoint("submissions", "mx.example.test", 465, "")),
        ("smtp://:25", Endpoint("smtp", "", 25, "")),
        ("smtp://*", Endpoint("smtp", "", 25, "")),
        ("lmtp+unix:/run/l.sock", Endpoint("lmtp", "", 0, "/run/l.sock")),
        ("lmtp+unix:///run/l.sock", Endpoint("lmtp", "", 0, "/run/l.sock")),
        ("lmtp://unix:/run/l.sock", Endpoint("lmtp", "", 0, "/run/l.sock")),
    ],
)
def test_good(url: str, endpoint: Endpoint) -> None:
    assert parse_listen(url) == endpoint


@pytest.mark.parametrize(
    "url",
    ["", "smtp", "smtp:", "smtp:127.0.0.1:25", "gopher://x:1", "smtp+tls://x:1", "smtp://::1:25", "smtp://[::1", "smtp://[::1]x", "smtp://a:b",
     "smtp://a:99999", "smtp://a:²", "smtp://u@h:25", "smtp://h:25/path", "lmtp+unix:run/x"],
)  # fmt: skip
def test_bad(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_listen(url)


def test_implicit_tls_and_peers() -> None:
    spec = ListenerSpec.of(Listener(url="pop3s://127.0.0.1:1", proxy_protocol=("127.0.0.1",)))
    assert (spec.protocol, spec.tls, spec.port) == ("pop3", True, 1)
    assert str(spec.proxy_protocol[0]) == "127.0.0.1/32"
