"""Where a recipient goes next."""
# SPDX-License-Identifier: Apache-2.0
