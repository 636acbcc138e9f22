"""The supervisor's turn: several descriptors are ready at once, and the first may end what the next belongs to."""
# SPDX-License-Identifier: Apache-2.0

from types import SimpleNamespace

from mta.app.supervisor import Supervisor


def test_a_pipe_that_was_closed_in_the_same_turn_is_passed_over() -> None:
    def hear() -> bool:
        raise OSError(9, "Bad file descriptor")

    supervisor = Supervisor.__new__(Supervisor)
    supervisor._heard(SimpleNamespace(pipe=-1, hear=hear))  # type: ignore[arg-type]
