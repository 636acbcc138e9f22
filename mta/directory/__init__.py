"""Who receives, and who may log in: addresses resolved and credentials verified through hooks."""
# SPDX-License-Identifier: Apache-2.0
