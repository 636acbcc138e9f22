"""Where your users were when they wrote is nobody's business: their address and HELO name stay out of the Received field.

Copy into ``hooks_dir``. Only mail of who logged in is changed; what comes from elsewhere keeps its whole trace, which reports of abuse
need. The session, with the address, stays in the log and in ``mta trace``.
"""
# SPDX-License-Identifier: Apache-2.0

from mta_hooks import hookimpl


@hookimpl
def register(registry):
    registry.received_header(without_client)


def without_client(session, field):
    if not session.user or not field.startswith("from "):
        return None
    return field[field.index(" by ") + 1 :]
