"""The bare sequence in a loop: one POST, one GET, one PUT with the libraries that Darkroom uses.

`bare.py COUNT` prints the process's CPU seconds, and the seconds of each sequence.
"""

import json
import sys
import time

import image
from generation import Asked

asked = Asked.model_validate_json(sys.stdin.read())
image.make("bare-warm", asked)  # connections are opened
took = []
began = time.process_time()
for number in range(int(sys.argv[1])):
    at = time.perf_counter()
    image.make(f"bare-{number}", asked)
    took.append(time.perf_counter() - at)
print(json.dumps({"cpu": time.process_time() - began, "seconds": took}))
