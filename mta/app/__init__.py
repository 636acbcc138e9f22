"""Processes: the supervisor, its workers, what they share, and how one worker is put together (docs/architecture.md)."""
# SPDX-License-Identifier: Apache-2.0
