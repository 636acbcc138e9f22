"""The ``mta`` command: one file for each noun. docs/operators/commands.md is generated from the help texts."""
# SPDX-License-Identifier: Apache-2.0
