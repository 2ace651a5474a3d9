"""The program: what it prints, where, and what it ends with."""

import json
import subprocess
from pathlib import Path

import pytest
from PIL import Image

import darkroom
from sandbox.waiting import wait_until
from tests.client.conftest import Run, Sandbox
from tests.e2e.up import DARKROOM, Up
from tests.receiver import receiver

pytestmark = pytest.mark.xdist_group("client")


def test_one_prompt_becomes_a_file_whose_name_alone_is_printed(
    run: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    paid = sandbox.paid()
    ended = run("generate", "A pier", "--aspect-ratio", "16:9", "--out", "pier.png")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "pier.webp\n"  # that is what the bytes are
    with Image.open(tmp_path / "pier.webp") as picture:
        assert picture.width > picture.height
    assert sandbox.paid() == paid + 1


def test_json_is_what_a_program_reads(run: Run, tmp_path: Path) -> None:
    made = json.loads(run("generate", "A gull", "--seed", "7", "--json").stdout)
    assert (made["prompt"], made["seed"]) == ("A gull", 7)
    assert (tmp_path / made["file"]).exists()
    shown = json.loads(run("jobs", "show", made["job_id"], "--json").stdout)
    assert shown["status"] == "succeeded"
    listed = json.loads(run("jobs", "list", "--limit", "1", "--json").stdout)
    assert [job["id"] for job in listed["data"]] == [made["job_id"]]
    table = run("jobs", "list", "--limit", "1")
    assert made["job_id"] in table.stdout
    assert "\x1b" not in table.stdout
    watched = run("jobs", "watch", made["job_id"])
    assert watched.stdout == f"{made['job_id']} succeeded\n"
    again = run("jobs", "retry", made["job_id"])
    assert (again.returncode, "succeeded" in again.stderr) == (3, True)


def test_a_picture_goes_to_a_folder_that_is_made_and_one_that_cannot_be_saved_is_kept(
    run: Run, tmp_path: Path
) -> None:
    made = json.loads(run("generate", "A quay", "--out", "new/quay.webp", "--json").stdout)
    assert (tmp_path / made["file"]).exists()
    lost = run("jobs", "save", made["job_id"], "--out", "none/quay.webp")
    assert (lost.returncode, lost.stdout) == (1, "")
    assert f"`darkroom jobs save {made['job_id']} --out PLACE`" in lost.stderr
    assert "No such file or directory" in lost.stderr
    assert "Traceback" not in lost.stderr


@pytest.mark.parametrize(
    ("words", "told", "code", "says"),
    [
        (("generate",), {}, 2, "Say either a prompt or --from FILE."),
        (("generate", "x", "--no-such"), {}, 2, "--no-such"),
        (("generate", "x", "--seed", "-1"), {}, 2, "/input/seed must be at least 0."),
        (("generate", "--from", "none.csv"), {}, 2, "none.csv cannot be read (No such file"),
        (("generate", "x", "--out", "/proc/none/x.png"), {}, 2, "Nothing was asked for"),
        (("generate", "x", "--variations", "2", "--out", "/proc/none"), {}, 2, "Nothing was"),
        (("generate", "x", "--out", "/dev/null/x.png"), {}, 2, "/dev/null cannot be written (File"),
        (("doctor", "--stack", "none.json"), {}, 2, "none.json cannot be read (No such file"),
        (("jobs", "show", "job_none"), {}, 3, "There is no such job."),
        (("generate", "x"), {"DARKROOM_API_KEY": "dk_none"}, 3, "dk_"),
        (("generate", "x"), {"DARKROOM_URL": "ftp://x"}, 2, "does not begin with http"),
        (("mcp", "--url", "x"), {}, 2, "does not begin with http"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_a_code(
    run: Run, words: tuple[str, ...], told: dict[str, str], code: int, says: str
) -> None:
    ended = run(*words, **told)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_real_program_says_that_the_service_is_away_without_colours(
    environment: dict[str, str],
) -> None:
    away = {**environment, "DARKROOM_URL": "http://127.0.0.1:9"}
    ended = subprocess.run(
        [DARKROOM, "jobs", "list"], env=away, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (4, "")
    assert ended.stderr.startswith("Darkroom at http://127.0.0.1:9 did not answer")
    assert "\x1b" not in ended.stderr


def test_a_failed_job_ends_with_1(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.behave(default={"fault": "status", "status": 400})
    ended = run("generate", "Nobody makes this")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert " failed: " in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_batches_are_found_shown_and_stopped(run: Run, client: darkroom.Client) -> None:
    run("queue", "pause")
    try:
        batch = client.batches.create([{"input": {"prompt": "A gull"}}] * 2)
        listed = json.loads(run("batches", "list", "--limit", "1", "--json").stdout)
        assert [one["id"] for one in listed["data"]] == [batch.id]
        assert batch.id in run("batches", "show", batch.id).stdout
        canceled = json.loads(run("batches", "cancel", batch.id, "--json").stdout)
        assert canceled["canceled_at"]
        job = client.submit("A crab")
        stopped = json.loads(run("jobs", "cancel", job.id, "--json").stdout)
        assert stopped["status"] == "canceled"
    finally:
        run("queue", "resume")
    assert run("batches", "show", "batch_none").returncode == 3


def test_deliveries_are_found_shown_and_sent_again(
    run: Run, client: darkroom.Client, sandbox: Sandbox
) -> None:
    with receiver() as hook:
        webhook = {"url": hook.url, "events": ["job.succeeded"]}
        job = client.submit("A crab", webhook=webhook)
        hook.script = [500]

        def told(status: str) -> bool:
            found = [one.raw for one in client.webhooks.list(job_id=job.id)]
            return [(one["status"], bool(one["last_attempt"])) for one in found] == [(status, True)]

        wait_until(lambda: told("pending"), "the first attempt")
        listed = json.loads(run("webhooks", "list", "--job", job.id, "--json").stdout)
        [delivery] = [one["id"] for one in listed["data"]]
        assert run("webhooks", "redeliver", delivery).returncode == 0
        wait_until(lambda: told("delivered"), "the webhook")
        shown = run("webhooks", "show", delivery).stdout
        assert hook.url in shown
        _, attempts = shown.split("attempt  at", 1)
        _, first, second, *_ = attempts.splitlines()
        assert (first.split()[0], first.split()[3]) == ("1", "500")
        assert first.endswith("The receiver answered with another status than 2xx.")
        assert (second.split()[0], second.split()[3]) == ("2", "200")
    wrong = run("webhooks", "redeliver")
    assert (wrong.returncode, wrong.stderr) == (2, "Say either one delivery or --since.\n")


def test_an_operator_holds_a_queue_and_lets_it_go(run: Run) -> None:
    assert "paused" in run("queue", "pause").stdout
    status = json.loads(run("queue", "status", "--json").stdout)["data"]
    assert {queue["name"]: queue["paused"] for queue in status}["generate"] is True
    assert run("queue", "resume").returncode == 0
    refused = run("queue", "status", "--key", "dk_none")
    assert refused.returncode == 3


def test_the_doctor_finds_a_running_stack_well_and_a_wrong_one_not(run: Run, stack: Up) -> None:
    file = stack.data / "stack.json"
    well = run("doctor", "--stack", file, "--json")
    found = json.loads(well.stdout)
    assert (well.returncode, found["well"]) == (0, True), found
    assert {finding["check"] for finding in found["findings"]} == {
        *("redis", "storage", "provider", "workers", "api"),
        *("clock of redis", "clock of storage", "queue generate", "queue deliver"),
        *("gate", "webhooks"),
    }
    ill = run(
        "doctor",
        DARKROOM_REDIS_URL=stack.state["redis_url"],
        DARKROOM_S3_ENDPOINT=stack.state["s3"]["endpoint"],
        DARKROOM_S3_ACCESS_KEY="nobody",
        DARKROOM_S3_SECRET_KEY="nothing-at-all",
        DARKROOM_PUBLIC_URL="http://127.0.0.1:9",
        DARKROOM_LEASE_SECOND="30",
    )
    assert ill.returncode == 1
    wrong = [line for line in ill.stdout.splitlines() if line.startswith("WRONG")]
    assert {line.split()[1] for line in wrong} == {"settings:", "storage:", "provider:", "api:"}
    assert "DARKROOM_LEASE_SECOND is no setting." in ill.stdout
    assert "DARKROOM_LEASE_SECONDS" in ill.stdout
