"""The table of docs/http-api.md that lists the error codes of jobs."""

import re

from shared.errors import ErrorCode
from tests.support.names import ROOT


def test_every_error_code_of_jobs_is_documented_once() -> None:
    text = (ROOT / "docs" / "http-api.md").read_text("utf-8")
    section = text.partition("## Errors of jobs\n")[2].partition("\n## ")[0]

    _head, *codes = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)

    assert codes == [code.value for code in ErrorCode]
