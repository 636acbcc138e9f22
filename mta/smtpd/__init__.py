"""SMTP in: MX, submission, and the socket of the sendmail command. One file per verb; tiny verbs share ``simple``."""
# SPDX-License-Identifier: Apache-2.0
