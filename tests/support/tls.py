"""The TLS context of the tests' HTTP clients: one of its own costs each client 50 ms of CPU."""

import httpx

TLS = httpx.create_ssl_context()
