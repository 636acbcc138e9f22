"""Log, metrics, redaction: what the server says about itself."""
# SPDX-License-Identifier: Apache-2.0
