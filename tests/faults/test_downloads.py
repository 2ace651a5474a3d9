"""Row 12: what comes in place of the image, or where it is to be fetched from.

Each fault has a job of its own, and all of a fault's downloads meet it unless it says `times`.
"""

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from sandbox.wait import wait_until
from shared.store import keys
from tests.faults.conftest import Audit, Tell
from tests.faults.memory import Growth, growing
from tests.faults.service import Service, service

pytestmark = pytest.mark.xdist_group("faults-4")

THREADS = 4
IMAGE_BYTES = 5_000_000
#: A download of a usual image must not take this long, even where four services share two cores.
DOWNLOAD_SECONDS = 4
#: What a worker may grow by while all its threads meet bombs: a hundredth of what they would unpack
#: to. A thread holds an image twice when it joins the pieces.
GROWTH_BYTES = 2 * THREADS * IMAGE_BYTES + 40_000_000
#: A redirect leads to this address, where somebody listens; so does an image's own.
INSIDE = "127.0.0.2"

#: What the gate records of an image host that could not be reached.
IMAGE_HOST_FIELDS = ("hold:image_host", "probe:image_host", "unfetched", "image_host")

Step = Mapping[str, object]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(
        tmp_path_factory.mktemp("downloads"),
        workers=1,
        concurrency=THREADS,
        DARKROOM_IMAGE_SETTLE_SECONDS="0",
        DARKROOM_IMAGE_MAX_BYTES=str(IMAGE_BYTES),
        DARKROOM_DOWNLOAD_TIMEOUT_SECONDS=str(DOWNLOAD_SECONDS),
    ) as running:
        running.wait_until_whole()
        # so that images are known to come from the usual host, whichever test runs first
        running.wait_for_end([running.create()])
        yield running


@pytest.fixture(autouse=True)
def reachable(here: Service) -> Iterator[None]:
    """Begin with an image host that holds no calls, and end with no job that waits for it."""
    lift_hold(here)
    yield
    # the jobs of a test that failed would hold those of the next
    for job_id in map(str, here.world.client.zrange(keys.deadlines(), 0, -1)):
        here.http.post(f"/v1/jobs/{job_id}/cancel")


def lift_hold(here: Service) -> None:
    """Let new calls begin: one download that was slow holds them for a minute."""
    here.world.client.hdel(keys.gate(), *IMAGE_HOST_FIELDS)


# what is no image ---------------------------------------------------------------------------


@dataclass
class WaitingClients:
    """Jobs by the fault that each met, done side by side, and what came of it."""

    jobs: dict[str, str]
    growth: Growth
    #: whether anybody was led inside
    led_inside: bool


def steps(port: int) -> dict[str, Step]:
    """Return what never becomes an image; `port` is where nobody may come."""
    inside = f"http://{INSIDE}:{port}/latest"
    return {
        "truncated": {"fault": "truncated"},
        "wrong length": {"fault": "wrong_length", "declared": 100},
        "huge, declared": {"fault": "huge", "bytes": 200_000_000},
        "huge, undeclared": {"fault": "huge", "bytes": 200_000_000, "declare": False},
        "gzip bomb": {"fault": "gzip_bomb", "bytes": 500_000_000},
        "pixel bomb": {"fault": "pixel_bomb", "width": 60_000, "height": 60_000},
        "redirect inside": {"fault": "redirect", "location": inside},
    }


def waiting_steps(port: int) -> Mapping[str, Step]:
    """Return what keeps a paid image from being fetched, by what a user of the table calls it."""
    inside = f"http://{INSIDE}:{port}/"
    return {
        "slow drip": {"fault": "slow_drip", "bytes": 10, "seconds": 0.2},
        "HTML": {"fault": "html"},
        "host not allowed": {"fault": "url", "host": "images.example.com"},
        "private address": {"fault": "url", "url": f"{inside}4.webp"},
        "private address, IPv6": {"fault": "url", "url": f"http://[::ffff:{INSIDE}]:{port}/6.webp"},
    }


#: Error, and attempts: what may go better the next time is fetched three times.
MEANT: Mapping[str, tuple[str, int]] = {
    "truncated": ("image_invalid", 3),
    "wrong length": ("image_invalid", 3),
    "huge, declared": ("image_too_large", 1),
    "huge, undeclared": ("image_too_large", 1),
    "gzip bomb": ("image_invalid", 3),
    "pixel bomb": ("image_too_large", 1),
    "redirect inside": ("image_invalid", 3),
}


def has_guest(listener: socket.socket) -> bool:
    """Return whether somebody has connected."""
    listener.settimeout(0)
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


@pytest.fixture(scope="module")
def crowd(here: Service) -> WaitingClients:
    # the first image brings the worker to its usual size
    here.wait_for_end([here.create()])
    pid = here.pid("generate-1")
    with socket.create_server((INSIDE, 0)) as listener, growing(pid) as growth:
        jobs: dict[str, str] = {}
        for name, step in steps(listener.getsockname()[1]).items():
            lift_hold(here)
            jobs[name] = here.create_meeting(step)
        here.wait_for_end(jobs.values())
        assert here.pid("generate-1") == pid
        return WaitingClients(jobs, growth, has_guest(listener))


@pytest.mark.parametrize("fault", MEANT)
def test_what_is_no_image_ends_the_job_with_its_reason_and_publishes_nothing(
    here: Service, crowd: WaitingClients, audit: Audit, tell: Tell, fault: str
) -> None:
    job_id = crowd.jobs[fault]
    error, attempts = MEANT[fault]
    assert here.outcome(job_id) == ("failed", error, attempts, 1)
    assert here.stored(job_id) == []
    assert here.http.get(f"/v1/jobs/{job_id}/image").status_code >= 400
    audit(here, [job_id])
    tell(12, fault, error=error, fetches=len(fetches(here, job_id)), paid=1)


def fetches(here: Service, job_id: str) -> list[str]:
    """Return the outcomes of the provider's downloads for a job."""
    prompt = here.job(job_id).spec.input["prompt"]
    calls = (one for one in here.provider.calls() if one["prompt"] == prompt)
    return [one["outcome"] for one in calls if one["kind"] == "download"]


def test_bombs_blow_no_worker_up_and_nobody_is_led_inside(
    crowd: WaitingClients, tell: Tell
) -> None:
    assert crowd.growth.bytes < GROWTH_BYTES
    assert not crowd.led_inside
    tell(12, "all of these at once", jobs=len(crowd.jobs), worker_grew=crowd.growth, led_inside=0)


@pytest.mark.parametrize("fault", waiting_steps(0))
def test_what_keeps_an_image_from_being_fetched_keeps_it_paid_and_leads_nobody_inside(
    here: Service, audit: Audit, tell: Tell, fault: str
) -> None:
    with socket.create_server((INSIDE, 0)) as listener:
        # given
        job_id = here.create_meeting(waiting_steps(listener.getsockname()[1])[fault])
        # when
        wait_until(lambda: here.world.read(job_id, "").job.due_at is not None, "it to wait")
        # then
        told = here.http.get(f"/v1/jobs/{job_id}").json()
        assert (told["status"], told["waiting_on"], told["attempt"]) == ("queued", "image_host", 0)
        # images come from another host: one alone holds no new calls then
        usual = fault in {"slow drip", "HTML"}
        assert here.world.client.hexists(keys.gate(), "hold:image_host") is usual
        assert not has_guest(listener)
        assert here.stored(job_id) == []
    assert here.http.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
    audit(here, [job_id])
    tell(12, fault, waiting_on="image_host", paid=here.paid(job_id))


# what becomes an image in the end ------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "step", "attempts", "paid"),
    [
        ("expired, record knows another", {"fault": "url_expired"}, 1, 1),
        ("expired for good", {"fault": "download_status", "status": 403}, 2, 2),
        ("truncated once", {"fault": "truncated", "times": 1}, 2, 1),
        ("HTML once", {"fault": "html", "times": 1}, 1, 1),
        ("503 once", {"fault": "download_status", "status": 503, "times": 1}, 1, 1),
        ("gzip bomb once", {"fault": "gzip_bomb", "times": 1}, 2, 1),
        ("slow drip once", {"fault": "slow_drip", "bytes": 10, "seconds": 0.2, "times": 1}, 1, 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_download_that_fails_is_made_again_and_paid_for_only_where_it_has_to_be(
    here: Service,
    audit: Audit,
    tell: Tell,
    *,
    fault: str,
    step: Step,
    attempts: int,
    paid: int,
) -> None:
    job_id = here.create_meeting(step)
    assert here.outcome(job_id) == ("succeeded", None, attempts, paid)
    assert here.job(job_id).regenerated == paid - 1
    audit(here, [job_id])
    tell(12, fault, fetches=len(fetches(here, job_id)), paid=paid)


@pytest.mark.parametrize(
    ("fault", "step", "warning"),
    [
        ("another format", {"fault": "wrong_format", "format": "jpg"}, "format"),
        ("another size", {"fault": "wrong_size"}, "size"),
        ("another ratio", {"fault": "wrong_size", "width": 400, "height": 625}, "ratio"),
        ("one flat colour", {"fault": "black"}, "flat"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_image_that_differs_is_published_with_a_warning(
    here: Service, audit: Audit, tell: Tell, fault: str, step: Step, warning: str
) -> None:
    job_id = here.create_meeting(step)
    assert here.outcome(job_id) == ("succeeded", None, 1, 1)
    image = here.job(job_id).image
    assert image is not None
    assert image.warnings == (warning,)
    assert here.stored(job_id) == [image.key]
    audit(here, [job_id])
    tell(12, fault, warning=warning, type=image.content_type)
