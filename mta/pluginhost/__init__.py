"""Plugins: found, checked, ordered, called, watched. The engine asks a ``HookHost`` and never sees a plugin."""
# SPDX-License-Identifier: Apache-2.0
