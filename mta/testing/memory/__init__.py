"""A database in memory, with the behaviour of a real one: the twin that tests of servers run on and other stores are compared with.

Nothing is durable; ``MemoryDatabase(options, data)`` with the ``Data`` of an earlier one is a restart. Every call is one step of
the event loop, checked completely before the first change, so nothing is ever half there.
"""
# SPDX-License-Identifier: Apache-2.0

from mta.testing.memory.data import Data
from mta.testing.memory.database import MemoryDatabase
from mta.testing.memory.tables import MemoryTables

__all__ = ["Data", "MemoryDatabase", "MemoryTables"]
