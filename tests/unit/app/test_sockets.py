"""What the bind errors say, and what a listener is when there is nothing to serve."""
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest

from mta.app import sockets
from mta.config.load import loads
from mta.model.errors import ConfigError


def test_nothing_to_serve() -> None:
    with pytest.raises(ConfigError, match=r"/x\.yaml:1: listen: nothing to serve\. Fix: add a list"):
        sockets.specs(loads("listen: []", "/x.yaml"), Path("/s"))


def test_the_sendmail_socket_is_always_there() -> None:
    found = sockets.specs(loads("listen: ['smtp://127.0.0.1:25']", "/x.yaml"), Path("/d/run/sendmail.sock"))
    assert [key for key, _ in found] == ["listen[0]", "data_dir"]
    assert found[1][1].local
    assert not found[0][1].local
