"""The queue at work: rows leased, delivered, settled; notifications called; the maildrop emptied."""
# SPDX-License-Identifier: Apache-2.0
