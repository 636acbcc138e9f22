"""Sockets, TLS, names, time: the only engine package that opens connections."""
# SPDX-License-Identifier: Apache-2.0
