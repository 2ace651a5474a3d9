"""What AWS has beside S3: an instance's metadata, a container's role, and a token service (STS)."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_ROLE = "/latest/meta-data/iam/security-credentials/"
_STS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>{AccessKeyId}</AccessKeyId><SecretAccessKey>{SecretAccessKey}</SecretAccessKey>
<SessionToken>{Token}</SessionToken><Expiration>{Expiration}</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


@dataclass
class TokenService:
    """Gives `access_keys` in turn, the last one for ever, each for `life_seconds`."""

    access_keys: list[str]
    secret_key: str
    life_seconds: float = 3600
    #: answers 500 while it is set
    is_away: bool = False
    url: str = ""
    #: the path and query of each request for credentials, and the header that allows it
    requests: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_credentials(self) -> dict[str, str]:
        with self.lock:
            few = len(self.access_keys) == 1
            access_key = self.access_keys[0] if few else self.access_keys.pop(0)
        expires = datetime.now(UTC) + timedelta(seconds=self.life_seconds)
        return {
            "Code": "Success",
            "AccessKeyId": access_key,
            "SecretAccessKey": self.secret_key,
            "Token": f"token-of-{access_key}",
            "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

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
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
