"""Create webhooks by `delay()`: read lines of URL and body, and queue each."""

import sys

from celery_webhooks import deliver

for line in sys.stdin:
    url, _, body = line.rstrip("\n").partition(" ")
    deliver.delay(url, body)
