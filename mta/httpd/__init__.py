"""HTTP: what plugins offer with ``registry.routes``, and whether the server is well (RFC 9110, RFC 9112, RFC 7617, RFC 6750 §2.1).

``connection`` is uvicorn's protocol class with our bounds, ``app`` finds the route (Starlette's router) and asks the plugin,
``access`` says who may. Both libraries are the extra ``http``; nothing here is imported by a server without an http listener.
Left out: HTTP/2, WebSocket, PROXY headers, Forwarded and X-Forwarded-For (the client is whoever connects).
"""
# SPDX-License-Identifier: Apache-2.0
