"""``mta-sendmail``: the classic command. Standard library only, and little of it: cron and scripts start it for each message."""
# SPDX-License-Identifier: Apache-2.0
