"""Taking responsibility: content that is bounded in memory, queue ids, and the one door to the database."""
# SPDX-License-Identifier: Apache-2.0
