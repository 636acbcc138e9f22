"""The message stages, the same for every door: authenticate, check, verdict, modify, sign; then the durable commit."""
# SPDX-License-Identifier: Apache-2.0
