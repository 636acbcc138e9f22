"""Tables in the forms that operators have: YAML mappings, Postfix's text files, networks, patterns; and backends of plugins."""
# SPDX-License-Identifier: Apache-2.0
