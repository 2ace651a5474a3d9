"""The valid API keys, and how a request carries one."""

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from sandbox.provider.behavior import BadBody


class KeysBody(BaseModel):
    """The body of `PUT /_sandbox/keys`; null makes any key valid that is not empty."""

    model_config = ConfigDict(extra="forbid", strict=True)

    good: list[str] | None


class Keys:
    """The valid keys, or any."""

    def __init__(self, good: Iterable[str] | None = None) -> None:
        """Take the valid keys; None for any that is not empty."""
        self._good = None if good is None else frozenset(good)

    def admit(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request's headers carry a valid key."""
        key = carried(headers)
        return bool(key) and (self._good is None or key in self._good)

    def replace(self, body: bytes) -> None:
        """Set the keys from JSON; raise BadBody and change nothing if it is invalid."""
        try:
            good = KeysBody.model_validate_json(body).good
        except ValidationError as error:
            raise BadBody(error) from None
        self._good = None if good is None else frozenset(good)

    def shown(self) -> dict[str, list[str] | None]:
        """Return the valid keys, sorted."""
        return {"good": None if self._good is None else sorted(self._good)}


def carried(headers: Mapping[str, str]) -> str:
    """Return the key of a request: `API-KEY`, or `Authorization: Bearer`; empty without one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return headers.get("api-key", "").strip() or bearer
