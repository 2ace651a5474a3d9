"""What a user writes without a queue: a thread pool that saves the image of each line of a CSV.

`many_images.py CSV FOLDER`
"""

import csv
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

AT_ONCE = 16
MODEL = "black-forest-labs/flux-2-klein-9b"
URL = f"{os.environ['PROVIDER_URL']}/api/features"


def save(row: dict[str, str], file: Path) -> None:
    """Generate the image of a row, and write it to a file."""
    parameters = {**row, "seed": int(row["seed"])}
    body = {"type": "IMAGE_GENERATOR", "model": MODEL, "promptObject": parameters}
    answer = http.post(URL, json=body, headers={"API-KEY": "k"}).raise_for_status()
    image = http.get(answer.json()["aiRecord"]["temporaryUrl"]).raise_for_status()
    file.write_bytes(image.content)


table, folder = map(Path, sys.argv[1:])
folder.mkdir()
limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
with (
    table.open(newline="") as lines,
    httpx.Client(timeout=60, limits=limits) as http,
    ThreadPoolExecutor(AT_ONCE) as pool,
):
    rows = list(csv.DictReader(lines))
    files = [folder / f"{number:04d}.webp" for number in range(len(rows))]
    list(pool.map(save, rows, files))  # raises what a thread raised
