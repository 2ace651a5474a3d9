"""The program: what it prints, where, and what it ends with."""

import json
import re
import subprocess
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import darkroom
from sandbox.wait import wait_until
from tests.client.conftest import Ended, Run, Sandbox
from tests.e2e.up import DARKROOM, Up
from tests.support.webhook_receiver import receiver

pytestmark = pytest.mark.xdist_group("client")


def test_one_prompt_becomes_a_file_whose_name_alone_is_printed(
    run: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    paid = sandbox.paid()
    ended = run("generate", "A pier", "--aspect-ratio", "16:9", "--out", "pier.png")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "pier.webp\n"  # that is what the bytes are
    with Image.open(tmp_path / "pier.webp") as image:
        assert image.width > image.height
    assert sandbox.paid() == paid + 1


def test_json_is_what_a_program_reads(run: Run, tmp_path: Path) -> None:
    made = json.loads(run("generate", "A gull", "--seed", "7", "--json").stdout)
    assert (made["prompt"], made["seed"]) == ("A gull", 7)
    assert (tmp_path / made["file"]).exists()
    shown = json.loads(run("jobs", "show", made["job_id"], "--json").stdout)
    assert shown["status"] == "succeeded"
    listed = json.loads(run("jobs", "list", "--limit", "1", "--json").stdout)
    assert [job["id"] for job in listed["data"]] == [made["job_id"]]
    none = run("jobs", "list", "--metadata", "order=none", "--seed", "7", "--q", "word", "--json")
    assert json.loads(none.stdout)["data"] == []
    table = run("jobs", "list", "--limit", "1")
    assert made["job_id"] in table.stdout
    assert "\x1b" not in table.stdout
    watched = run("jobs", "watch", made["job_id"])
    assert watched.stdout == f"{made['job_id']} succeeded\n"
    again = run("jobs", "retry", made["job_id"])
    assert (again.returncode, "succeeded" in again.stderr) == (3, True)


def test_the_options_of_the_job_are_those_of_the_program(run: Run) -> None:
    words = ("--metadata", "order=A-17", "--tag", "spring", "--record-seconds", "forever")
    made = json.loads(run("generate", "A weir", *words, "--image-seconds", "3600", "--json").stdout)
    job = json.loads(run("jobs", "show", made["job_id"], "--json").stdout)
    assert (job["metadata"], job["tags"], job["expires_at"]) == (
        {"order": "A-17"},
        ["spring"],
        None,
    )
    assert job["image"]["expires_at"] is not None
    refused = run("generate", "A weir", "--record-seconds", "soon")
    assert (refused.returncode, "--record-seconds" in refused.stderr) == (2, True)


def test_an_image_goes_to_a_folder_that_is_made_and_one_that_cannot_be_saved_is_kept(
    run: Run, tmp_path: Path
) -> None:
    made = json.loads(run("generate", "A quay", "--out", "new/quay.webp", "--json").stdout)
    assert (tmp_path / made["file"]).exists()
    small = run("jobs", "save", made["job_id"], "--preview").stdout.strip()
    assert small == f"{made['job_id']}-preview.webp"
    with Image.open(tmp_path / small) as opened:
        assert (opened.format, max(opened.size)) == ("WEBP", 512)
    lost = run("jobs", "save", made["job_id"], "--out", "none/quay.webp")
    assert (lost.returncode, lost.stdout) == (1, "")
    assert f"`darkroom jobs save {made['job_id']} --out PLACE`" in lost.stderr
    assert "No such file or directory" in lost.stderr
    assert "Traceback" not in lost.stderr


@pytest.mark.parametrize(
    ("words", "variables", "code", "says"),
    [
        (("generate",), {}, 2, "Give either a prompt or --from FILE."),
        (("generate", "x", "--no-such"), {}, 2, "--no-such"),
        (("jobs", "list", "--metadata", "A-17"), {}, 2, "--metadata needs name=value, such as"),
        (
            ("jobs", "list", "--metadata", "a=1", "--metadata", "a=2"),
            {},
            2,
            "--metadata a is given",
        ),
        (
            ("generate", "x", "--input", "seed=1", "--input", "seed=2"),
            {},
            2,
            "--input seed is given",
        ),
        (("generate", "x", "--seed", "1", "--input", "seed=2"), {}, 2, "--seed is given twice"),
        (("generate", "x", "--seed", "-1"), {}, 2, "--seed must be at least 0."),
        (("generate", "x", "--input", "steps=4"), {}, 2, "--input steps is unknown."),
        (("generate", "--from", "none.csv"), {}, 2, "none.csv cannot be read (No such file"),
        (("generate", "x", "--out", "/proc/none/x.png"), {}, 2, "No image was requested"),
        (("generate", "x", "--variations", "2", "--out", "/proc/none"), {}, 2, "No image was"),
        (("generate", "x", "--out", "new/" + "a" * 252), {}, 2, "No image was requested"),
        (("generate", "x", "--out", "a" * 300), {}, 2, "(File name too long). No image was"),
        (("generate", "x", "--out", "/dev/null/x.png"), {}, 2, "/dev/null cannot be written (File"),
        (("doctor", "--stack", "none.json"), {}, 2, "none.json cannot be read (No such file"),
        (("jobs", "show", "job_none"), {}, 3, "There is no such job."),
        (("generate", "x"), {"DARKROOM_API_KEY": "dk_none"}, 3, "dk_"),
        (("generate", "x"), {"DARKROOM_URL": "ftp://x"}, 2, "does not begin with http"),
        (("mcp", "--url", "x"), {}, 2, "does not begin with http"),
        (("mcp", "--key", "“dk_x”"), {}, 2, "The key that was given has a character"),
        (("generate", "x"), {"DARKROOM_API_KEY": "dk_none"}, 3, "with --key or DARKROOM_API_KEY"),
        (("generate", "x", "--aspect-ratio", "7:3"), {}, 2, "--aspect-ratio must be one of"),
        (("generate", "x", "--tag", "a" * 999), {}, 2, "--tag 0 must have at most"),
        (("generate", " "), {}, 2, "PROMPT must not be blank"),
        (("generate", "caf\udce9"), {}, 2, "PROMPT is not valid Unicode."),
        (("generate", "caf\udce9", "--variations", "2"), {}, 2, "PROMPT is not valid Unicode."),
        (
            ("generate", "x", "--variations", "2", "--seed", "-1"),
            {},
            2,
            "--seed must be at least 0",
        ),
        (("webhooks", "redeliver", "--since", "x"), {}, 2, "--since "),
        (("webhooks", "test", "x"), {}, 2, "URL "),
        (("webhooks", "test", "http://x", "--header", "dk_x"), {}, 2, "A --header is written"),
        (("webhooks", "endpoints", "enable", "ep_x"), {}, 3, "There is no such endpoint."),
        (("jobs", "show", "\udce9"), {}, 3, "There is no such job."),
        (("jobs", "list", "--limit", "-1"), {}, 2, "--limit"),
        (("jobs", "list"), {"ALL_PROXY": "socks5://127.0.0.1:9"}, 2, "ALL_PROXY names a SOCKS"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_a_code(
    run: Run, words: tuple[str, ...], variables: dict[str, str], code: int, says: str
) -> None:
    ended = run(*words, **variables)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert says in ended.stderr
    assert "/input" not in ended.stderr
    assert "Authorization" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_program_tells_its_version_and_the_distribution_it_is_of(run: Run) -> None:
    assert run("--version").stdout == f"{version('darkroom-client')}\n"
    [program] = entry_points(group="console_scripts", name="darkroom")
    assert (program.dist and program.dist.name, program.value) == (
        "darkroom-client",
        "darkroom.cli:main",
    )
    help_text = run("mcp", "--help").stdout
    assert "'darkroom-client[mcp]'" in help_text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_every_image_is_saved_whatever_the_terminal_can_write(
    environment: dict[str, str], sandbox: Sandbox, tmp_path: Path, encoding: str
) -> None:
    paid = sandbox.paid()
    given = {**environment, "PYTHONIOENCODING": encoding}
    for words in ((), ("--json",)):
        ended = subprocess.run(
            [DARKROOM, "generate", "Лиса 🦊", "--variations", "2", "--out", "рис", *words],
            env=given,
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr.count(b"Traceback")) == (0, 0)
    made = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [one["prompt"] for one in made] == ["Лиса 🦊"] * 2
    assert all((tmp_path / one["file"]).exists() for one in made)
    assert (len(list((tmp_path / "рис").iterdir())), sandbox.paid()) == (4, paid + 4)


@pytest.mark.parametrize("stdout", ["| true", ">&-", "> /dev/full"])
def test_every_image_is_saved_where_nobody_reads_the_results(
    environment: dict[str, str], sandbox: Sandbox, tmp_path: Path, stdout: str
) -> None:
    command = f"{DARKROOM} generate 'A gull' --variations 4 --out out {stdout}"
    ended = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", command],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, len(list((tmp_path / "out").iterdir()))) == (0, 4), ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr
    assert ("No space left on device" in ended.stderr) == ("full" in stdout)


def test_variations_that_cannot_be_saved_are_found_by_their_batch(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gull-7.webp").mkdir()
    ended = run("generate", "Gull", "--seed", "7", "--variations", "2", "--out", str(tmp_path))
    assert ended.returncode == 1
    found = re.search(r"`darkroom (jobs list --batch batch_\w+)` lists them", ended.stderr)
    assert found, ended.stderr
    assert f"{tmp_path}/gull-7.webp: Is a directory." in ended.stderr

    listed = json.loads(run(*found[1].split(), "--json").stdout)["data"]
    for number, job in enumerate(listed):
        assert run("jobs", "save", job["id"], "--out", str(tmp_path / f"{number}")).returncode == 0
    assert (tmp_path / "0.webp").is_file()
    assert (tmp_path / "1.webp").is_file()


def test_a_proxy_is_named_without_its_password_and_loopback_goes_without_it(run: Run) -> None:
    far = {"DARKROOM_URL": "http://darkroom.example"}
    with receiver() as proxy:
        server = proxy.url.removesuffix("/hook")
        address = server.replace("http://", "http://user:Hunter2@")
        near = run("jobs", "list", HTTP_PROXY=address)
        refused = run("jobs", "list", HTTP_PROXY=address, **far)
    silent = run("jobs", "list", HTTP_PROXY=address, **far)
    assert near.returncode == 0
    assert (refused.returncode, silent.returncode) == (4, 4)
    assert "is not Darkroom: 501, " in refused.stderr
    assert "did not answer" in silent.stderr
    for ended in (refused, silent):
        assert f"asked through the proxy {server} (HTTP_PROXY)," in ended.stderr
        assert "Hunter2" not in ended.stderr


def test_a_standing_endpoint_is_made_changed_tested_and_deleted(
    run: Run, client: darkroom.Client
) -> None:
    def endpoints(*words: str) -> dict[str, Any]:
        shown = run("webhooks", "endpoints", *words, "--json").stdout
        return dict(json.loads(shown))

    with receiver() as hook:
        ends = ("--events", "job.succeeded, job.failed", "--header", "X-Token: t")
        made = endpoints("create", hook.url, *ends, "--description", "shop", "--no-enabled")
        assert made["events"] == ["job.succeeded", "job.failed"]
        assert (made["description"], made["status"]) == ("shop", "disabled")
        changed = endpoints("update", made["id"], "--payload", "slim", "--enabled")
        assert (changed["payload"], changed["status"]) == ("slim", "healthy")
        read = client.webhooks.endpoints.get(made["id"])
        assert (read.events, read.enabled) == (made["events"], True)
        tested = endpoints("test", made["id"])
        assert (tested["status"], tested["request"]["headers"]["x-token"]) == ("delivered", "t")
        image = client.generate("A crab")
        wait_until(lambda: len(hook.received) > 1, "the webhook of a job", seconds=30)
        assert hook.received[-1].json["data"]["id"] == image.job_id
        assert run("webhooks", "endpoints", "delete", made["id"]).returncode == 0
        assert made["id"] not in run("webhooks", "endpoints", "list").stdout


def test_endpoints_are_listed_enabled_and_given_new_secrets(
    run: Run, client: darkroom.Client
) -> None:
    with receiver() as hook:
        client.generate("A crab", webhook={"url": hook.url})
        listed = json.loads(run("webhooks", "endpoints", "list", "--json").stdout)["data"]
        [endpoint] = [one["id"] for one in listed if one["url"] == hook.url]
        assert endpoint in run("webhooks", "endpoints", "list").stdout
        assert endpoint in [one.id for one in client.webhooks.endpoints.list()]
        enabled = json.loads(run("webhooks", "endpoints", "enable", endpoint, "--json").stdout)
        assert (enabled["id"], enabled["status"]) == (endpoint, "healthy")
        shown = run("webhooks", "endpoints", "rotate", endpoint).stdout
        assert "whsec_" in shown
        made = json.loads(run("webhooks", "endpoints", "rotate", endpoint, "--json").stdout)
        assert made.keys() == {"secret", "previous_signs_until"}
        client.generate("A whale", webhook={"url": hook.url})
        wait_until(lambda: len(hook.received) > 1, "the second webhook", seconds=30)
        last = hook.received[-1]
        darkroom.webhooks.verify(last.body, dict(last.headers), made["secret"])


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

        def has_status(status: str) -> bool:
            found = [one.raw for one in client.webhooks.list(job_id=job.id)]
            return [(one["status"], bool(one["last_attempt"])) for one in found] == [(status, True)]

        wait_until(lambda: has_status("pending"), "the first attempt")
        listed = json.loads(run("webhooks", "list", "--job", job.id, "--json").stdout)
        [delivery] = [one["id"] for one in listed["data"]]
        assert run("webhooks", "redeliver", delivery).returncode == 0
        wait_until(lambda: has_status("delivered"), "the webhook")
        shown = run("webhooks", "show", delivery).stdout
        assert hook.url in shown
        _, attempts = shown.split("attempt  at", 1)
        _, first, second, *_ = attempts.splitlines()
        assert (first.split()[0], first.split()[3]) == ("1", "500")
        assert first.endswith("The endpoint did not respond with a 2xx status.")
        assert (second.split()[0], second.split()[3]) == ("2", "200")
    wrong = run("webhooks", "redeliver")
    assert (wrong.returncode, wrong.stderr) == (2, "Give either one delivery or --since.\n")


def test_usage_is_a_table_json_or_csv(run: Run) -> None:
    run("generate", "A pier", "--out", "counted.png")
    assert "has a budget" in run("usage", "budgets").stdout
    table = run("usage").stdout.splitlines()
    assert table[0].split() == ["day", "jobs", "calls", "credits"]
    assert table[-1].split()[0] == "total"
    found = json.loads(run("usage", "--group-by", "month,status", "--json").stdout)
    assert sum(row["jobs"] for row in found["data"]) == found["total"]["jobs"] > 0
    text = run("usage", "--from", found["from"], "--to", found["to"], "--csv").stdout
    assert text.startswith("day,jobs,calls,credits\r\n")
    both = run("usage", "--csv", "--json")
    assert (both.returncode, both.stderr) == (2, "Give either --csv or --json.\n")
    wrong = run("usage", "--from", "yesterday")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "must be a date such as" in wrong.stderr


def test_an_operator_holds_a_queue_and_lets_it_go(run: Run) -> None:
    assert "paused" in run("queue", "pause").stdout
    status = json.loads(run("queue", "status", "--json").stdout)["data"]
    assert {queue["name"]: queue["paused"] for queue in status}["generate"] is True
    assert run("queue", "resume").returncode == 0
    refused = run("queue", "status", "--key", "dk_none")
    assert refused.returncode == 3


def test_the_doctor_finds_a_running_stack_well_and_a_wrong_one_not(run: Run, stack: Up) -> None:
    file = stack.data / "stack.json"

    def doctor() -> Ended:
        return run("doctor", "--stack", file, "--json")

    # a worker creates the history soon after its start
    wait_until(lambda: doctor().returncode == 0, "a stack that the doctor finds well")
    well = doctor()
    found = json.loads(well.stdout)
    assert (well.returncode, found["well"]) == (0, True), found
    assert {finding["check"] for finding in found["findings"]} == {
        *("redis", "history", "storage", "provider", "workers", "api"),
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
    assert "DARKROOM_LEASE_SECOND is not a setting." in ill.stdout
    assert "DARKROOM_LEASE_SECONDS" in ill.stdout


def test_the_doctor_reaches_the_api_without_a_proxy_for_programs(run: Run, stack: Up) -> None:
    ended = run(
        "doctor", "--stack", stack.data / "stack.json", "--json", HTTP_PROXY="http://127.0.0.1:9"
    )

    [api] = [one for one in json.loads(ended.stdout)["findings"] if one["check"] == "api"]
    assert api["well"], api
