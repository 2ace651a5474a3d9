"""Owes webhooks by `delay()`: reads lines of URL and body, and owes each as it comes."""

import sys

from celery_hooks import deliver

for line in sys.stdin:
    url, _, body = line.rstrip("\n").partition(" ")
    deliver.delay(url, body)
