"""The tree of all errors.

DarkroomError
├─ InvalidSettings                           the process refuses to start
├─ TenantExists                              the name of a new tenant is taken
├─ TenantDeleting                            the tenant is being deleted
├─ StoreError                                Redis could not execute an operation
│  ├─ StoreDown                              unreachable, or no response in time
│  ├─ StoreFull                              its memory limit or its disk is full
│  ├─ OutcomeUnknown                         sent, but the reply never arrived
│  └─ IncompatibleStore                      it would lose or evict data
├─ HistoryDown                               the database of archived jobs did not respond
├─ UnknownRevision                           the schema cannot be migrated back to it
├─ LostLease                                 another worker holds the job: stop silently
├─ AddressForbidden                          an outsider's host has a private address
├─ ObjectMissing                             the storage has no such object
├─ ObjectDamaged                             the storage has other bytes than were stored
└─ JobError                                  ends or delays a job, and is shown on it
   ├─ ProviderRejected     provider_rejected
   ├─ ModelGone            model_unavailable         marks the model
   ├─ ContentRejected      content_rejected
   ├─ ProviderAuth         provider_auth             stops the use of the key
   ├─ ProviderCredits      provider_credits          holds the keys of the team
   ├─ ProviderBusy         provider_busy             retried, costs no attempt
   ├─ ProviderDown         provider_down             retried, with another key if there is one
   │  └─ RequestBlocked    provider_down             the same
   ├─ EndpointMissing      provider_down             holds the model, costs no attempt
   ├─ RecordLost           provider_down             called again, costs no attempt
   ├─ RecordFailed         provider_down             called again
   ├─ ProviderTimeout      provider_timeout          retried
   ├─ UnknownOutcome       provider_unknown_outcome  retried once, if the job allows it
   │  └─ RecordUnreadable  provider_unknown_outcome  the same
   ├─ ImageExpired         image_expired             generated again once
   ├─ ImageNotReady        image_expired             downloaded later, free
   ├─ ImageHostDown        image_expired             downloaded later, free, holds new calls
   ├─ ImageHostForbidden   image_expired             the same, until a setting is corrected
   ├─ LookUpFailed         image_expired             downloaded and looked up later, free
   ├─ ImageInvalid         image_invalid
   ├─ ImageTooLarge        image_too_large
   ├─ FetchFailed          image_invalid             downloaded again
   ├─ ImageDamaged         image_invalid             downloaded again, generated again by a retry
   ├─ StorageDown          storage_down              stored later, holds new calls
   └─ Internal             internal                  a defect in Darkroom

`code` and `retryable` are what callers need. `api.problems` maps errors to HTTP.
"""

from enum import StrEnum
from typing import ClassVar

from shared.printable import printable

#: Messages stored on a job are cut to this many characters, because outsiders write part of them.
MESSAGE_CHARACTERS = 1000


class ErrorCode(StrEnum):
    """The codes of a job's `error`."""

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
    """The base class of Darkroom's own errors."""


class InvalidSettings(DarkroomError):
    """The settings are invalid; the text has one sentence per fault."""


class TenantExists(DarkroomError):
    """A tenant of this name exists; nothing was changed."""


class TenantDeleting(DarkroomError):
    """A worker is deleting this tenant; nothing was changed."""


class StoreError(DarkroomError):
    """Redis could not execute an operation."""


class StoreDown(StoreError):
    """Redis is unreachable or did not respond in time, and has executed nothing."""


class StoreFull(StoreError):
    """Redis is at its memory limit or cannot write its log."""


class OutcomeUnknown(StoreError):
    """The script was sent and its reply never arrived: it may or may not have run."""


class IncompatibleStore(StoreError):
    """This Redis would lose or evict data, or cannot run the scripts."""


class HistoryDown(DarkroomError):
    """The database of the history is unreachable, or did not respond in time."""


class UnknownRevision(DarkroomError):
    """The schema cannot be migrated back to this revision."""


class LostLease(DarkroomError):
    """The job or erasure belongs to another worker now, or has ended: stop silently."""


class AddressForbidden(DarkroomError):
    """A host named by an outsider resolves to a private or otherwise non-public address."""


class ObjectMissing(DarkroomError):
    """The object storage has no object with this key."""


class ObjectDamaged(DarkroomError):
    """The object storage returns other bytes than were stored under this key."""


class JobError(DarkroomError):
    """Ends or delays one job, and is shown on it."""

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL
    #: Whether a retry may succeed.
    retryable: ClassVar[bool] = False
    #: Whether this attempt counts against the job's `max_attempts`.
    costs_attempt: ClassVar[bool] = True
    #: The response of the failing service for operators, cut and without secrets; '' if none.
    evidence: str = ""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """Take `message` (shown to clients, cut) and the seconds that the service asked to wait."""
        super().__init__(printable(message)[:MESSAGE_CHARACTERS])
        self.retry_after = retry_after


class ProviderRejected(JobError):
    """The provider rejects the request, and would reject it again."""

    code = ErrorCode.PROVIDER_REJECTED


class ModelGone(JobError):
    """The provider no longer offers the model."""

    code = ErrorCode.MODEL_UNAVAILABLE


class ContentRejected(JobError):
    """The provider's safety rules reject the prompt or the image."""

    code = ErrorCode.CONTENT_REJECTED


class ProviderAuth(JobError):
    """The provider rejects the key."""

    code = ErrorCode.PROVIDER_AUTH
    retryable = True
    costs_attempt = False


class ProviderCredits(JobError):
    """The team has no credits; `needed` and `has` are numbers that the provider may state."""

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
        """Take the message, the credits that a call needs, and those that the team has."""
        super().__init__(message, retry_after=retry_after)
        self.needed = needed
        self.has = has


class ProviderBusy(JobError):
    """The provider's rate limit; it generated and billed nothing."""

    code = ErrorCode.PROVIDER_BUSY
    retryable = True
    costs_attempt = False


class ProviderDown(JobError):
    """The provider failed, or the request never arrived; nothing was generated."""

    code = ErrorCode.PROVIDER_DOWN
    retryable = True


class RequestBlocked(ProviderDown):
    """The provider, or a firewall in front of it, refused this request, but accepts the key."""


class EndpointMissing(JobError):
    """The provider's URL is not that of its API, which says nothing about the job."""

    code = ErrorCode.PROVIDER_DOWN
    retryable = True
    costs_attempt = False


class RecordLost(JobError):
    """The provider no longer has the record of a call that it accepted: it generated nothing."""

    code = ErrorCode.PROVIDER_DOWN
    retryable = True
    costs_attempt = False


class RecordFailed(JobError):
    """The record of a call failed because the provider was busy: a new call may succeed."""

    code = ErrorCode.PROVIDER_DOWN
    retryable = True


class ProviderTimeout(JobError):
    """The provider did not finish within the time limit, according to its record."""

    code = ErrorCode.PROVIDER_TIMEOUT
    retryable = True


class UnknownOutcome(JobError):
    """The request was sent and no response came: the image may have been generated and billed."""

    code = ErrorCode.PROVIDER_UNKNOWN_OUTCOME
    retryable = True
    #: The provider's record, if the response named one but no image; otherwise ''.
    record_id: str = ""


class RecordUnreadable(UnknownOutcome):
    """The key that made the call is gone, and another one does not find the call's record."""


class ImageExpired(JobError):
    """The provider's URL of the image is no longer served."""

    code = ErrorCode.IMAGE_EXPIRED
    retryable = True


class ImageNotReady(JobError):
    """The image's URL is seconds old and not served yet, as by eventually consistent storage."""

    code = ErrorCode.IMAGE_EXPIRED
    retryable = True
    costs_attempt = False


class ImageHostDown(JobError):
    """The image host is unreachable or serves nothing at the moment.

    The image is paid for: it is downloaded later, until its URL expires or the job's deadline
    passes. `host` is the name of the host, with its port if it is not the default.
    """

    code = ErrorCode.IMAGE_EXPIRED
    retryable = True
    costs_attempt = False

    def __init__(self, message: str, *, host: str, retry_after: float | None = None) -> None:
        """Take the message, the host, and the seconds that it asked to wait."""
        super().__init__(message, retry_after=retry_after)
        self.host = host


class ImageHostForbidden(ImageHostDown):
    """The settings do not allow downloads from this image host."""


class LookUpFailed(JobError):
    """The URL of a paid image is not served, and its record cannot be read at the moment."""

    code = ErrorCode.IMAGE_EXPIRED
    retryable = True
    costs_attempt = False


class ImageInvalid(JobError):
    """The downloaded bytes are not an image."""

    code = ErrorCode.IMAGE_INVALID


class ImageTooLarge(JobError):
    """The image exceeds the limit of bytes or pixels."""

    code = ErrorCode.IMAGE_TOO_LARGE


class FetchFailed(JobError):
    """The download was incomplete; it is repeated, and the image is not generated again."""

    code = ErrorCode.IMAGE_INVALID
    retryable = True


class ImageDamaged(JobError):
    """The image is damaged; it is downloaded again, and generated again if it stays damaged."""

    code = ErrorCode.IMAGE_INVALID
    retryable = True


class StorageDown(JobError):
    """The object storage does not accept the image at the moment."""

    code = ErrorCode.STORAGE_DOWN
    retryable = True
    costs_attempt = False


class Internal(JobError):
    """A defect in Darkroom; the log has the traceback under the job's id."""

    code = ErrorCode.INTERNAL
    retryable = True
