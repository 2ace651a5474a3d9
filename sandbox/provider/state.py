"""The state shared by the routes of a provider."""

from dataclasses import dataclass

from starlette.requests import Request

from sandbox.provider.behavior import Behavior
from sandbox.provider.call_log import CallLog
from sandbox.provider.image_cache import ImageCache
from sandbox.provider.images import ImageHost
from sandbox.provider.keys import Keys
from sandbox.provider.models import Models
from sandbox.provider.records import Record, Records
from sandbox.provider.signed_urls import Addresses


@dataclass(frozen=True, slots=True)
class State:
    """The parts of a provider. `base_url` None: image URLs start with the caller's URL.

    They are served on the port of the image host, if it has one of its own.
    """

    behavior: Behavior
    keys: Keys
    call_log: CallLog
    records: Records
    addresses: Addresses
    image_cache: ImageCache
    images: ImageHost
    models: Models
    base_url: str | None = None

    def address_of(self, record: Record, request: Request) -> str:
        """Issue another URL of a record's image."""
        base_url = self.base_url or self.images.url_beside(request.base_url)
        addressed = record.addressed
        address = self.addresses.sign(base_url.rstrip("/"), addressed.path, addressed.issued)
        addressed.issued += 1
        return address


def state_of(request: Request) -> State:
    """Return the state of the provider that a request is for."""
    state: State = request.app.state.provider
    return state
