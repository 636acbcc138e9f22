"""The config file: typed sections with defaults and bounds, errors with file:line."""
# SPDX-License-Identifier: Apache-2.0
