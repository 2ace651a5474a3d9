"""Row 11: webhooks per second, and the delay of healthy hosts while a tenth of all hosts hang."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import count
from pathlib import Path
from statistics import quantiles

from bench.client import pace
from bench.completion_times import steady_rate
from bench.results import Goal, Line, Row, less, must_equal
from bench.run import Run
from bench.webhook_load import WebhookLoad, by_celery, by_darkroom
from bench.webhook_receivers import WebhookReceivers, receiving
from sandbox.wait import WaitTimeout, wait_until

NUMBER = 11
TITLE = "webhooks per second, and those of healthy hosts while a tenth of all hosts hang"
HEALTHY = tuple(f"127.0.0.{number}" for number in range(10, 28))
HANGING = ("127.0.0.28", "127.0.0.29")
AT_ONCE = 32
MANY = 1_000
RATE = 60.0
PACED = 480
#: The longest wait for webhooks to healthy hosts, in seconds; a missing one counts as that.
PATIENCE_SECONDS = 30.0
OURS, CELERY = "Darkroom", "Celery task, `autoretry_for`"
_NUMBERS = count()
#: Opens a way to create webhooks, in a directory of its own.
Way = Callable[[Path], AbstractContextManager[WebhookLoad]]


def measure(run: Run) -> Row:
    """Create many webhooks at once; then some per second, without and with two hanging hosts."""
    with receiving(HEALTHY, HANGING) as receivers:
        ways: Mapping[str, Way] = {
            OURS: partial(by_darkroom, at_once=AT_ONCE, hosts=(*HEALTHY, *HANGING)),
            CELERY: partial(by_celery, at_once=AT_ONCE),
        }
        rounds = run.interleave(
            {name: partial(_measure, run.directory, way, receivers) for name, way in ways.items()}
        )
    many, well, ill = (
        (rounds.of(OURS, figure), rounds.of(CELERY, figure)) for figure in ("/s", "well", "ill")
    )
    moved = [after / before for before, after in zip(well[0], ill[0], strict=True)]
    lines = [
        Line(NUMBER, "webhooks per second", "/s", many[0], Goal(2, None), CELERY, many[1]),
        Line(NUMBER, "p99, all well", "ms", well[0], None, CELERY, well[1], less),
        Line(
            NUMBER, "p99 of the healthy, two of 20 hang", "ms", ill[0], None, CELERY, ill[1], less
        ),
        Line(
            NUMBER, "our p99 with the hanging ÷ without", "", moved, Goal(None, 1.2, at_most=True)
        ),
    ]
    checked = "each of our webhooks to healthy hosts arrived exactly once"
    return Row(NUMBER, TITLE, lines, checked)


def _measure(directory: Path, way: Way, receivers: WebhookReceivers) -> Mapping[str, float]:
    """Measure all three on a Redis of its own, so that nothing of an earlier round is in flight."""
    numbers = [next(_NUMBERS) for _ in range(MANY)]
    with way(directory / str(numbers[0])) as owing:
        send_one = owing.prepare([_url(receivers, number, HEALTHY) for number in numbers])
        with owing.stopped():
            for one in send_one:
                one()
        with owing.worker():
            _wait_for(receivers, numbers)
            rate = steady_rate(sorted(receivers.came[number][0] for number in numbers))
            well = _paced(owing, receivers, HEALTHY)
            ill = _paced(owing, receivers, (*HEALTHY, *HANGING))
    return {"/s": rate, "well": well * 1000, "ill": ill * 1000}


def _url(receivers: WebhookReceivers, number: int, hosts: Sequence[str]) -> str:
    return receivers.url(hosts[number % len(hosts)], number)


def _paced(owing: WebhookLoad, receivers: WebhookReceivers, hosts: Sequence[str]) -> float:
    """Create webhooks at a rate; return the 99th percentile of healthy hosts' delays (seconds)."""
    numbers = [next(_NUMBERS) for _ in range(PACED)]
    send_one = owing.prepare([_url(receivers, number, hosts) for number in numbers])
    owed = {}
    for place in pace(PACED, 1 / RATE):
        owed[numbers[place]] = time.time()
        send_one[place]()
    healthy = [number for number in numbers if hosts[number % len(hosts)] in HEALTHY]
    try:
        _wait_for(receivers, healthy)
    except WaitTimeout:
        if owing.must_deliver:
            raise
    took = [
        receivers.came[number][0] - owed[number] if receivers.came[number] else PATIENCE_SECONDS
        for number in healthy
    ]
    return quantiles(took, n=100, method="inclusive")[98]


def _wait_for(receivers: WebhookReceivers, numbers: Sequence[int]) -> None:
    came = receivers.came
    wait_until(
        lambda: all(number in came and came[number] for number in numbers),
        "all webhooks of the healthy",
        seconds=PATIENCE_SECONDS,
    )
    must_equal({len(came[number]) for number in numbers}, {1}, "times that a webhook came")
