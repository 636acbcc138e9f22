"""Writes the fastest form of the ``mta-sendmail`` command: ``python -m mta.sendmail.launcher .venv/bin/mta-sendmail``.

The script that pip makes starts Python with site-packages, which takes several times as long as sending the message.
"""
# SPDX-License-Identifier: Apache-2.0

import os
import sys

TEXT = """\
#!{python} -ISE
# Written by mta.sendmail.launcher: no site-packages, no environment, so that it starts in a few milliseconds.
import sys

sys.path.insert(0, {folder!r})

from mta.sendmail.main import main

main()
"""


def write(path: str) -> None:
    """Write the script for this interpreter and this copy of the package; replaces what is there in one step."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.write(TEXT.format(python=sys.executable, folder=os.path.dirname(package)))
    os.chmod(temporary, 0o755)  # noqa: S103  # a command for everybody
    os.replace(temporary, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write(name)
