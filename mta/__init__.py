"""mta: a plugin-driven mail transfer agent. Start reading at docs/architecture.md."""
# SPDX-License-Identifier: Apache-2.0

__version__ = "0.1.0"
