"""SMTP on the wire: command lines to frozen values, message data to octets. Replies are ``mta.model.reply.Reply``."""
# SPDX-License-Identifier: Apache-2.0
