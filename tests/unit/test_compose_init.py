"""Who makes the images after a start with Docker Compose, by what the operator chose."""

from pathlib import Path

import pytest

from sandbox.compose_init import SANDBOX_FILES, Choice, check_provider, choose_provider, create
from shared.errors import InvalidSettings
from shared.settings import load_settings

NAMED = "./onemin.key"


def refusal(choice: Choice, secret: Path) -> str:
    with pytest.raises(InvalidSettings) as refused:
        choose_provider(load_settings(), choice, secret)
    return str(refused.value)


def test_without_a_key_the_sandbox_makes_them(tmp_path: Path) -> None:
    assert choose_provider(load_settings(), Choice(), tmp_path / "none") == SANDBOX_FILES


def test_a_key_in_the_file_is_used_without_its_newline(tmp_path: Path) -> None:
    secret = tmp_path / "onemin_api_key"
    secret.write_text("a-real-key\n")

    files = choose_provider(load_settings(), Choice(key_file=NAMED), secret)

    assert files["onemin_api_key"] == "a-real-key"
    assert files["onemin_base_url"] == "https://api.1min.ai"


def test_a_key_in_the_environment_needs_no_file(tmp_path: Path) -> None:
    settings = load_settings(onemin_api_key="from-the-environment")

    files = choose_provider(settings, Choice(sandbox=False), tmp_path / "none")

    assert files["onemin_api_key"] == "from-the-environment"


def test_without_a_key_and_without_the_sandbox_nothing_can_make_images(tmp_path: Path) -> None:
    said = refusal(Choice(sandbox=False), tmp_path / "none")

    assert "DARKROOM_SANDBOX=0" in said
    assert "DARKROOM_ONEMIN_API_KEY_FILE=./onemin.key" in said


@pytest.mark.parametrize("sandbox", [True, False])
def test_a_file_that_was_named_is_never_replaced_by_the_sandbox(
    tmp_path: Path,
    sandbox: bool,  # noqa: FBT001  an example, not a switch
) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    choice = Choice(sandbox, NAMED)

    assert f"{NAMED} (DARKROOM_ONEMIN_API_KEY_FILE) is empty" in refusal(choice, empty)
    assert "sudo chown 10001 ./onemin.key" in refusal(choice, tmp_path / "none")


def test_a_wrong_key_ends_check_provider_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        check_provider(sandbox=0, key_file=NAMED, secret=tmp_path / "none")

    assert ended.value.code == 2
    assert "Jobs are accepted, but no images are made." in capsys.readouterr().err


def test_a_wrong_key_leaves_what_the_api_needs(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_REDIS_URL", redis_url)

    create(directory=tmp_path, sandbox=0, key_file=NAMED, secret=tmp_path / "none")

    assert (tmp_path / "onemin_api_key").read_text() == ""
    assert (tmp_path / "onemin_base_url").read_text() == "https://api.1min.ai"
    assert (tmp_path / "api_key").read_text().startswith("dk_")
