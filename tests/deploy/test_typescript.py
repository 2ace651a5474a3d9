"""The types of the TypeScript client, which are generated."""

from tests.support import typescript


def test_the_types_are_those_of_the_api() -> None:
    assert typescript.TYPES.read_text("utf-8") == typescript.types(), "run `make deploy-files`"
