"""The test kit: fakes, faults, peers and conformance suites, for our own tests and for those of plugin authors."""
# SPDX-License-Identifier: Apache-2.0
