"""Programs that draw a screen, for tests: they get a terminal of their own."""
# SPDX-License-Identifier: Apache-2.0

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_on_terminal(words: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float = 60) -> tuple[int, str]:
    """Run a program until it ends; return its exit status and all that it wrote. ``env`` is added to PATH, HOME (``cwd``) and TERM.

    Raises ``TimeoutError`` with the end of the screen after ``timeout`` seconds; the program is killed.
    """
    primary, secondary = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "TERM": "xterm", **env}
    seen = b""
    until = time.monotonic() + timeout
    try:
        client = subprocess.Popen(words, cwd=cwd, env=environment, stdin=secondary, stdout=secondary, stderr=secondary)
        os.close(secondary)
        # The program's last words come before its end is seen, so one more look follows it.
        while (ended := client.poll()) is None or select.select([primary], [], [], 0)[0]:
            if time.monotonic() > until:
                client.kill()
                client.wait()
                raise TimeoutError(f"{words[0]} did not end in {timeout} s: {seen[-3000:]!r}")
            if select.select([primary], [], [], 0.05)[0]:
                try:
                    seen += os.read(primary, 65536)
                except OSError:  # Linux: nobody has the other side open any more
                    client.wait()
                    ended = client.returncode
                    break
    finally:
        os.close(primary)
    return ended, seen.decode(errors="replace")
