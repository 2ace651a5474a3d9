"""What AWS has beside S3: an instance's metadata, a container's role, and a token service (STS).

`refusing_expired` is what S3 does with the credentials: it accepts them until they expire.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.background import in_service
from tests.support.lying_storage import Lie, Reply, Request, passed_on
from tests.support.servers import S3Server

_ROLE = "/latest/meta-data/iam/security-credentials/"
_STS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>{AccessKeyId}</AccessKeyId><SecretAccessKey>{SecretAccessKey}</SecretAccessKey>
<SessionToken>{Token}</SessionToken><Expiration>{Expiration}</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""
_EXPIRED = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>ExpiredToken</Code></Error>'
_CREDENTIAL = re.compile(r"Credential=(\w+)/")


@dataclass
class TokenService:
    """Gives `access_keys` in turn, the last one from then on, each for `life_seconds`."""

    access_keys: list[str]
    secret_key: str
    life_seconds: float = 3600
    #: answers 500 while it is set
    is_away: bool = False
    url: str = ""
    #: the path and query of each request for credentials, and the header that allows it
    requests: list[tuple[str, str]] = field(default_factory=list)
    #: when each access key that was given expires
    expires_at: dict[str, datetime] = field(default_factory=dict)
    #: the access keys that the storage has refused
    refused: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_credentials(self) -> dict[str, str]:
        with self.lock:
            few = len(self.access_keys) == 1
            access_key = self.access_keys[0] if few else self.access_keys.pop(0)
        life = timedelta(seconds=self.life_seconds)
        expires = (datetime.now(UTC) + life).replace(microsecond=0)
        self.expires_at[access_key] = expires
        return {
            "Code": "Success",
            "AccessKeyId": access_key,
            "SecretAccessKey": self.secret_key,
            "Token": f"token-of-{access_key}",
            "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def expired(self) -> list[str]:
        """Return the access keys that are no longer valid."""
        now = datetime.now(UTC)
        return [key for key, ends in list(self.expires_at.items()) if ends <= now]

    def answer(self, path: str, headers: Any) -> str:
        """Return the body for a request; an empty one means 403."""
        if path == "/latest/api/token":
            return "imds-token"
        if path.startswith(_ROLE) and headers.get("X-aws-ec2-metadata-token") != "imds-token":
            return ""
        if path == _ROLE:
            return "darkroom"
        allowed = headers.get("Authorization") or headers.get("X-aws-ec2-metadata-token") or ""
        self.requests.append((path, allowed))
        if urlsplit(path).query:
            asked = parse_qs(urlsplit(path).query)
            if asked["Action"] != ["AssumeRoleWithWebIdentity"]:
                return ""
            return _STS.format(**self.next_credentials())
        return json.dumps(self.next_credentials())


@contextmanager
def token_service(service: TokenService) -> Iterator[TokenService]:
    """Run it on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = "" if service.is_away else service.answer(self.path, self.headers)
            self.send_response(200 if body else 500 if service.is_away else 403)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_PUT = do_POST = do_GET  # noqa: N815  the names are the library's

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_address[1]}"
        with in_service(server):
            yield service


def refusing_expired(service: TokenService) -> Lie:
    """Answer as a storage that accepts only credentials of the service that have not expired."""

    def answer(request: Request, s3: S3Server) -> Reply:
        signed = _CREDENTIAL.search(request.headers.get("Authorization", ""))
        key = signed.group(1) if signed else ""
        if key not in service.expires_at or key in service.expired():
            service.refused.add(key)
            return Reply(403, {"Content-Type": "application/xml"}, _EXPIRED)
        return passed_on(request, s3)

    return answer
