"""Frozen values that every layer shares. No I/O, no clock, no log, no randomness."""
# SPDX-License-Identifier: Apache-2.0
