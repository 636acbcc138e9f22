"""The SMTP and LMTP client: which host, one dialogue, one connection kept for several messages."""
# SPDX-License-Identifier: Apache-2.0
