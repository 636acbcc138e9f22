"""STARTTLS over real sockets: what ``smtp_tls`` is told, and what becomes of a session it refuses."""
# SPDX-License-Identifier: Apache-2.0

from mta_hooks import reject


def test_smtp_tls_after_starttls(serve, client_tls) -> None:
    running = serve()
    plan = running.site.hook("smtp_tls", lambda session, tls: None)
    peer = running.connect()
    peer.reply()
    peer.ask("EHLO c")
    assert peer.ask("STARTTLS").startswith("220")
    peer.secure(client_tls)
    assert peer.ask("EHLO c").startswith("250")
    (call,) = plan.calls
    assert (call["tls"].version, call["tls"].certificate) == ("TLSv1.3", None)
    assert call["tls"].cipher == call["session"].cipher != ""
    peer.close()


def test_a_refused_handshake_answers_the_next_command_and_closes(serve, client_tls) -> None:
    running = serve()
    running.site.hook("smtp_tls", lambda session, tls: reject("no certificate"))
    peer = running.connect()
    peer.reply()
    peer.ask("EHLO c")
    peer.ask("STARTTLS")
    peer.secure(client_tls)
    assert peer.ask("EHLO c") == "550 5.7.1 no certificate"
    assert peer.reply() == ""
    peer.close()
