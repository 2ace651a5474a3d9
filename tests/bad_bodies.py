"""Bodies that must never reach Redis, each with the place of its one fault."""

import json
from typing import Any

GOOD: dict[str, Any] = {"input": {"prompt": "A lighthouse at dawn"}}


def _with(**members: Any) -> bytes:
    return json.dumps({**GOOD, **members}).encode()


def _input(**members: Any) -> bytes:
    return json.dumps({"input": {**GOOD["input"], **members}}).encode()


def _hook(**members: Any) -> bytes:
    return _with(webhook={"url": "https://example.com/", **members})


def _url(url: str) -> tuple[bytes, str]:
    return _hook(url=url), "/webhook/url"


_NOT_JSON = [
    b"",
    b"{",
    b"\xff\xfe",
    b'{"input":{"prompt":"\xff"}}',
    b'{"input":{"prompt":"\\ud800"}}',
    b'{"input":{"prompt":"p"}}}',
    b'{"input":{"prompt":"p"},}',
    b"{'input':{'prompt':'p'}}",
    b'{"input":{"prompt":"p"}} {"input":{"prompt":"p"}}',
    b'{"input":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"input":{"prompt":"a\x00b"}}',
    b'{"input":{"prompt":"p","seed":01}}',
    b'{"input":{"prompt":"p"},"metadata":{"\\ud800":"x"}}',
    b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),
]

_NOT_AN_OBJECT = [b"[]", b"null", b'"text"', b"17", b"true", b"NaN"]

_OF_THE_INPUT: list[tuple[bytes, str]] = [
    (b'{"input":{"prompt":"p","seed":NaN}}', "/input/seed"),
    (b'{"input":{"prompt":"p","seed":Infinity}}', "/input/seed"),
    (b'{"input":{"prompt":"p","seed":1e400}}', "/input/seed"),
    (b'{"input":{"prompt":"p","output_quality":-Infinity}}', "/input/output_quality"),
    (_with(input={}), "/input/prompt"),
    (_input(prompt=None), "/input/prompt"),
    (_input(prompt=""), "/input/prompt"),
    (_input(prompt="  \n\t "), "/input/prompt"),
    (_input(prompt=5), "/input/prompt"),
    (_input(prompt=["p"]), "/input/prompt"),
    (_input(prompt="p" * 10_001), "/input/prompt"),
    (_input(aspect_ratio="2:1"), "/input/aspect_ratio"),
    (_input(aspect_ratio="1:1 "), "/input/aspect_ratio"),
    (_input(aspect_ratio=None), "/input/aspect_ratio"),
    (_input(aspect_ratio=1), "/input/aspect_ratio"),
    (_input(output_format="WEBP"), "/input/output_format"),
    (_input(output_format="jpeg"), "/input/output_format"),
    (_input(output_format="gif"), "/input/output_format"),
    (_input(output_quality=-1), "/input/output_quality"),
    (_input(output_quality=101), "/input/output_quality"),
    (_input(output_quality=80.5), "/input/output_quality"),
    (_input(output_quality="80"), "/input/output_quality"),
    (_input(output_quality=True), "/input/output_quality"),
    (_input(output_quality=None), "/input/output_quality"),
    (_input(num_inference_steps=0), "/input/num_inference_steps"),
    (_input(num_inference_steps=5), "/input/num_inference_steps"),
    (_input(num_inference_steps="4"), "/input/num_inference_steps"),
    (_input(num_inference_steps=2.5), "/input/num_inference_steps"),
    (_input(go_fast="true"), "/input/go_fast"),
    (_input(go_fast=1), "/input/go_fast"),
    (_input(go_fast=None), "/input/go_fast"),
    (_input(megapixels=1), "/input/megapixels"),
    (_input(megapixels="2"), "/input/megapixels"),
    (_input(megapixels=0.25), "/input/megapixels"),
    (_input(disable_safety_checker="false"), "/input/disable_safety_checker"),
    (_input(disable_safety_checker=0), "/input/disable_safety_checker"),
    (_input(seed=-1), "/input/seed"),
    (_input(seed=2**53), "/input/seed"),
    (_input(seed=10**30), "/input/seed"),
    (_input(seed=1.5), "/input/seed"),
    (_input(seed="7"), "/input/seed"),
    (_input(seed=False), "/input/seed"),
    (_input(width=1024), "/input/width"),
    (_input(Prompt="p"), "/input/Prompt"),
    (_input(**{"a/b~c": 1}), "/input/a~1b~0c"),
    (_input(**{"": 1}), "/input/"),
]

_OF_THE_ENVELOPE: list[tuple[bytes, str]] = [
    (b"{}", "/input"),
    (_with(input=None), "/input"),
    (_with(input=[]), "/input"),
    (_with(input="p"), "/input"),
    (_with(model="flux"), "/model"),
    (_with(model=None), "/model"),
    (_with(model=""), "/model"),
    (_with(model=4), "/model"),
    (_with(prompt="p"), "/prompt"),
    (_with(callback="https://example.com"), "/callback"),
    (_with(priority="urgent"), "/priority"),
    (_with(priority=1), "/priority"),
    (_with(priority=None), "/priority"),
    (_with(priority="HIGH"), "/priority"),
    (_with(deadline_seconds=0), "/deadline_seconds"),
    (_with(deadline_seconds=-5), "/deadline_seconds"),
    (_with(deadline_seconds=30 * 86_400 + 1), "/deadline_seconds"),
    (_with(deadline_seconds=1.5), "/deadline_seconds"),
    (_with(deadline_seconds="600"), "/deadline_seconds"),
    (_with(on_unknown="ignore"), "/on_unknown"),
    (_with(on_unknown=True), "/on_unknown"),
    (_with(reuse=True), "/input/seed"),
    (_with(reuse=True, input={"prompt": "p", "seed": None}), "/input/seed"),
    (_with(reuse="no"), "/reuse"),
    (_with(dry_run=1), "/dry_run"),
    (_with(fail_fast={"max_position": -1}), "/fail_fast/max_position"),
    (_with(fail_fast={"max_position": 2.5}), "/fail_fast/max_position"),
    (_with(fail_fast={"max_wait_seconds": -1}), "/fail_fast/max_wait_seconds"),
    (_with(fail_fast={"max_wait_seconds": 1e300}), "/fail_fast/max_wait_seconds"),
    (_with(fail_fast={}), "/fail_fast"),
    (_with(fail_fast={"max_positon": 3}), "/fail_fast/max_positon"),
    (_with(fail_fast=True), "/fail_fast"),
    (_with(metadata=[]), "/metadata"),
    (_with(metadata=None), "/metadata"),
    (_with(metadata={"k": 1}), "/metadata/k"),
    (_with(metadata={"k": None}), "/metadata/k"),
    (_with(metadata={"k": {"deep": "er"}}), "/metadata/k"),
    (_with(metadata={"": "v"}), "/metadata/"),
    (_with(metadata={"k" * 65: "v"}), "/metadata/" + "k" * 65),
    (_with(metadata={"k": "v" * 513}), "/metadata/k"),
    (_with(metadata={f"k{n}": "v" for n in range(51)}), "/metadata"),
    (_with(tags="a"), "/tags"),
    (_with(tags=None), "/tags"),
    (_with(tags=[1]), "/tags/0"),
    (_with(tags=["a", ""]), "/tags/1"),
    (_with(tags=["t" * 65]), "/tags/0"),
    (_with(tags=["a\nb"]), "/tags/0"),
    (_with(tags=["a", "b", "a"]), "/tags"),
    (_with(tags=[f"t{n}" for n in range(11)]), "/tags"),
]

_OF_THE_WEBHOOK: list[tuple[bytes, str]] = [
    (_with(webhook="https://example.com"), "/webhook"),
    (_with(webhook={}), "/webhook/url"),
    (_hook(url=None), "/webhook/url"),
    (_hook(url="http://xn--a/"), "/webhook/url"),
    (_hook(url="http://[v1.x]/"), "/webhook/url"),
    (_hook(url=7), "/webhook/url"),
    (_hook(events=[]), "/webhook/events"),
    (_hook(events="job.succeeded"), "/webhook/events"),
    (_hook(events=["job.done"]), "/webhook/events/0"),
    (_hook(events=["batch.completed"]), "/webhook/events/0"),
    (_hook(events=["job.failed", "job.failed"]), "/webhook/events"),
    (_hook(payload="thin"), "/webhook/payload"),
    (_hook(secret="s"), "/webhook/secret"),
    (_hook(headers=[]), "/webhook/headers"),
    (_hook(headers={"X-A": 1}), "/webhook/headers/X-A"),
    (_hook(headers={f"X-{n}": "v" for n in range(21)}), "/webhook/headers"),
    (_hook(headers={"X-A": "1", "x-a": "2"}), "/webhook/headers"),
    *(
        (_hook(headers={name: "v"}), "/webhook/headers")
        for name in (
            *("", "X A", "X:A", "Ä", "X\r\nY", "x" * 101),
            *("Host", "content-length", "Content-Type", "Transfer-Encoding", "Connection"),
            *("webhook-id", "Webhook-Signature", "Upgrade", "TE", "Proxy-Authorization"),
        )
    ),
    *(
        (_hook(headers={"X-A": value}), "/webhook/headers")
        for value in ("a\r\nX-B: c", "\x00", " a", "a\t", "é", "v" * 1001)
    ),
    *map(
        _url,
        (
            "",
            "example.com/hook",
            "//example.com",
            "ftp://example.com/",
            "javascript:alert(1)",
            "http://",
            "http:///path",
            "https://user@example.com/",
            "https://user:secret@example.com/",
            "https://example.com:0/",
            "https://example.com:99999/",
            "https://example.com:port/",
            "https://exa mple.com/",
            "https://example.com/a b",
            "https://example.com/\n",
            "https://bücher.example/",
            "https://example.com\\@evil.example/",
            "https://a..b/",
            "https://[::1",
            "https://example.com/" + "a" * 2048,
            "http://localhost/",
            "http://LOCALHOST.:80/",
            "http://sub.localhost/",
            "http://127.0.0.1:8000/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://0/",
            "http://127.0.0.1./",
            "http://999.1.1.1/",
            "http://168.63.129.16/",
            "https://example.com:25/",
            "https://example.com:1023/",
            "http://93.184.215.14:22/",
            "http://[2606:2800:21f::1%25eth0]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2606:2800:21f::1]443/",
            "http://10.1.2.3/",
            "http://172.16.0.1/",
            "http://192.168.1.1/",
            "http://169.254.169.254/latest/meta-data/",
            "http://100.64.0.1/",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
            "http://[::1]/",
            "http://[::]/",
            "http://[fd00::1]/",
            "http://[fe80::1]/",
            "http://[fe80::1%25eth0]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2606:2800:21f::1]443/",
        ),
    ),
]

BAD_BODIES: list[tuple[bytes, str]] = [
    *((body, "") for body in (*_NOT_JSON, *_NOT_AN_OBJECT)),
    *_OF_THE_INPUT,
    *_OF_THE_ENVELOPE,
    *_OF_THE_WEBHOOK,
]
