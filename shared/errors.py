"""Everything that can go wrong, as one tree.

DarkroomError
├─ InvalidSettings                               the start is refused
├─ TenantExists                              the name of a new tenant is taken
├─ StoreError                                what Redis did to us
│  ├─ StoreDown                              not reachable, or it did not answer in time
│  ├─ StoreFull                              at its memory limit, or its disk is
│  ├─ OutcomeUnknown                            sent, but the reply never came
│  └─ IncompatibleStore                             it would lose or evict what it is given
├─ LostLease                                 another holds the job now: stop quietly
├─ AddressForbidden                          an outsider's address would lead us inside
├─ ObjectMissing                             the storage has no such object
├─ ObjectDamaged                             the storage has other bytes than were stored
└─ JobError                                  ends or delays a job, and is shown on it
   ├─ ProviderRejected     provider_rejected
   ├─ ModelGone            model_unavailable         marks the model
   ├─ ContentRejected      content_rejected
   ├─ ProviderAuth         provider_auth             holds the queue
   ├─ ProviderCredits      provider_credits          holds the queue
   ├─ ProviderBusy         provider_busy             retried, costs no attempt
   ├─ ProviderDown         provider_down             retried, with another key if there is one
   ├─ EndpointMissing      provider_down             holds the model, costs no attempt
   ├─ ProviderTimeout      provider_timeout          retried
   ├─ UnknownOutcome       provider_unknown_outcome  retried once, if the job allows it
   ├─ ImageExpired         image_expired             made again once
   ├─ ImageNotReady        image_expired             fetched later, free
   ├─ ImageHostDown        image_expired             fetched later, free, holds new calls
   ├─ ImageHostForbidden   image_expired             the same, until a setting is right
   ├─ ImageInvalid         image_invalid
   ├─ ImageTooLarge        image_too_large
   ├─ FetchFailed          image_invalid             fetched again
   ├─ ImageDamaged         image_invalid             fetched again, made again by a retry
   ├─ StorageDown          storage_down              stored later, holds new calls
   └─ Internal             internal                  a defect of ours

`code` and `retryable` answer the two questions that callers have. What HTTP says about an error
stands in one table of the API.
"""

from enum import StrEnum
from typing import ClassVar

from shared.printable import printable

#: A message kept on a job is cut to this many characters: outsiders write part of it.
MESSAGE_CHARACTERS = 1000


class ErrorCode(StrEnum):
    """The closed list of codes that a job's `error` can carry."""

    INVALID_INPUT = "invalid_input"
    PROVIDER_REJECTED = "provider_rejected"
    CONTENT_REJECTED = "content_rejected"
    PROVIDER_AUTH = "provider_auth"
    PROVIDER_CREDITS = "provider_credits"
    PROVIDER_BUSY = "provider_busy"
    PROVIDER_DOWN = "provider_down"
    PROVIDER_TIMEOUT = "provider_timeout"
    PROVIDER_UNKNOWN_OUTCOME = "provider_unknown_outcome"
    MODEL_UNAVAILABLE = "model_unavailable"
    IMAGE_EXPIRED = "image_expired"
    IMAGE_INVALID = "image_invalid"
    IMAGE_TOO_LARGE = "image_too_large"
    STORAGE_DOWN = "storage_down"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    CANCELED = "canceled"
    INTERNAL = "internal"


class DarkroomError(Exception):
    """Anything Darkroom raises on purpose."""


class InvalidSettings(DarkroomError):
    """The environment cannot be worked with; the text has one sentence per mistake."""


class TenantExists(DarkroomError):
    """There is a tenant of this name; nothing was changed."""


class StoreError(DarkroomError):
    """Redis could not do what it was asked."""


class StoreDown(StoreError):
    """Redis is not reachable, or did not answer in time, and has done nothing."""


class StoreFull(StoreError):
    """Redis is at its memory limit or cannot write its log."""


class OutcomeUnknown(StoreError):
    """The script was sent and its reply never came: it may or may not have run."""


class IncompatibleStore(StoreError):
    """This Redis would lose or evict what it is given, or cannot run the scripts."""


class LostLease(DarkroomError):
    """The job is another's now, or final: whoever gets this stops quietly."""


class AddressForbidden(DarkroomError):
    """An outsider named a host whose address is private or otherwise not for the public."""


class ObjectMissing(DarkroomError):
    """The object storage answers, and has no object under this key."""


class ObjectDamaged(DarkroomError):
    """The object storage sends other bytes than were stored under this key."""


class JobError(DarkroomError):
    """Ends or delays one job, and is shown on it."""

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL
    #: Whether trying again may help.
    retryable: ClassVar[bool] = False
    #: Whether this attempt counts against the job's `max_attempts`.
    costs_attempt: ClassVar[bool] = True
    #: What whoever failed us answered, cut, without secrets: for operators. '' where nothing came.
    evidence: str = ""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """Keep `message` (shown to clients, cut) and the seconds we were asked to wait."""
        super().__init__(printable(message)[:MESSAGE_CHARACTERS])
        self.retry_after = retry_after


class ProviderRejected(JobError):
    """The provider will not make this image, however often it is asked."""

    code = ErrorCode.PROVIDER_REJECTED


class ModelGone(JobError):
    """The provider does not offer the model any more."""

    code = ErrorCode.MODEL_UNAVAILABLE


class ContentRejected(JobError):
    """The provider's safety rules refuse the prompt or the image."""

    code = ErrorCode.CONTENT_REJECTED


class ProviderAuth(JobError):
    """The key that was used is dead."""

    code = ErrorCode.PROVIDER_AUTH
    retryable = True
    costs_attempt = False


class ProviderCredits(JobError):
    """The team is out of credits; `needed` and `has` count them where the provider told."""

    code = ErrorCode.PROVIDER_CREDITS
    retryable = True
    costs_attempt = False

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        needed: float | None = None,
        has: float | None = None,
    ) -> None:
        """Keep the message, and the credits that one call needs and that the team has."""
        super().__init__(message, retry_after=retry_after)
        self.needed = needed
        self.has = has


class ProviderBusy(JobError):
    """Too fast for the provider; it made and billed nothing."""

    code = ErrorCode.PROVIDER_BUSY
    retryable = True
    costs_attempt = False


class ProviderDown(JobError):
    """The provider failed, or the request never arrived; nothing was made."""

    code = ErrorCode.PROVIDER_DOWN
    retryable = True


class EndpointMissing(JobError):
    """The provider's address is not that of its API, which says nothing about the job."""

    code = ErrorCode.PROVIDER_DOWN
    retryable = True
    costs_attempt = False


class ProviderTimeout(JobError):
    """The provider did not finish within the time it is given, and said so by its record."""

    code = ErrorCode.PROVIDER_TIMEOUT
    retryable = True


class UnknownOutcome(JobError):
    """The request was sent and no answer came: the image may have been made and billed."""

    code = ErrorCode.PROVIDER_UNKNOWN_OUTCOME
    retryable = True
    #: The provider's record, where the answer named one but no image. '' where it did not.
    record_id: str = ""


class ImageExpired(JobError):
    """The provider's address of the image is no longer served."""

    code = ErrorCode.IMAGE_EXPIRED
    retryable = True


class ImageNotReady(JobError):
    """The image's URL is seconds old and not served yet, as by a storage that is not consistent."""

    code = ErrorCode.IMAGE_EXPIRED
    retryable = True
    costs_attempt = False


class ImageHostDown(JobError):
    """The host of the image cannot be reached, or does not serve anything now.

    The image is paid: it is fetched later, until its URL expires or the job's deadline passes.
    `host` is the host's name, and its port where that is not the usual one.
    """

    code = ErrorCode.IMAGE_EXPIRED
    retryable = True
    costs_attempt = False

    def __init__(self, message: str, *, host: str, retry_after: float | None = None) -> None:
        """Keep the message, the host, and the seconds that it asked us to wait."""
        super().__init__(message, retry_after=retry_after)
        self.host = host


class ImageHostForbidden(ImageHostDown):
    """The settings do not allow fetching images from this host."""


class ImageInvalid(JobError):
    """What came is not an image."""

    code = ErrorCode.IMAGE_INVALID


class ImageTooLarge(JobError):
    """The image is over the cap of bytes or pixels."""

    code = ErrorCode.IMAGE_TOO_LARGE


class FetchFailed(JobError):
    """The image did not come over whole; it is fetched again, never made again."""

    code = ErrorCode.IMAGE_INVALID
    retryable = True


class ImageDamaged(JobError):
    """What came is not a whole image; it is fetched again, and made again if it stays so."""

    code = ErrorCode.IMAGE_INVALID
    retryable = True


class StorageDown(JobError):
    """The object storage does not take the image now."""

    code = ErrorCode.STORAGE_DOWN
    retryable = True
    costs_attempt = False


class Internal(JobError):
    """A defect of ours; the log has the trace under the job's id."""

    code = ErrorCode.INTERNAL
    retryable = True
