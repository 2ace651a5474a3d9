"""Sealed secrets, and the pool of keys that a worker opens them for."""

import pytest

from shared.provider_keys import KeySource, ProviderKey, read_key
from shared.sealing import Seal, Unsealable
from shared.settings import Settings, missing
from shared.store.provider_keys import StoredKey
from worker.key_pool import KeyPool

OLD, NEW = "an-old-seal-key-of-32-characters", "a-new-seal-key-of--32-characters"


def stored(secret: str, seal_key: str = NEW, *, key_id: str = "") -> StoredKey:
    key = read_key(secret)
    sealed = Seal([seal_key]).seal(secret)
    return StoredKey(key_id or key.id, "team", "", key.masked, 1, sealed)


def test_the_first_key_seals_and_all_of_them_open() -> None:
    before, after = Seal([OLD]).seal("secret"), Seal([NEW, OLD]).seal("secret")
    assert Seal([NEW, OLD]).open(before) == Seal([NEW]).open(after) == "secret"
    for sealed in (after, "", "none", "…", before[:-4]):
        with pytest.raises(Unsealable):
            Seal([OLD]).open(sealed)


def test_a_secret_is_current_if_the_first_key_sealed_it() -> None:
    before, after = Seal([OLD]).seal("secret"), Seal([NEW, OLD]).seal("secret")
    assert [Seal([NEW, OLD]).is_current(one) for one in (before, after, "")] == [False, True, False]


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    assert Seal([NEW]).seal("secret") != Seal([NEW]).seal("secret")


def test_a_pool_has_the_keys_of_the_environment_first_and_each_key_once() -> None:
    own = ProviderKey("own", "own", "own-secret")
    pool = KeyPool([own, read_key("both")], Seal([NEW]))
    given = (stored("both"), stored("added"))
    assert pool.update(given)
    added = ProviderKey(read_key("added").id, "team", "added", KeySource.STORED)
    assert [*pool.keys] == [own, read_key("both"), added]
    assert not pool.update(given)
    assert pool.update(given[:1])
    assert [*pool.keys] == [own, read_key("both")]


@pytest.mark.parametrize("seal", [None, Seal([OLD])])
def test_a_pool_leaves_out_and_names_what_it_cannot_open(
    seal: Seal | None, capfd: pytest.CaptureFixture[str]
) -> None:
    pool = KeyPool([], seal)
    added = stored("added")
    pool.update((added,))
    pool.log_unreadable()
    assert ([*pool.keys], pool.unreadable) == ([], (added.id,))
    assert "DARKROOM_SEAL_KEYS" in "".join(capfd.readouterr())
    pool.update(())
    assert pool.unreadable == ()


def test_a_sealed_key_that_was_copied_under_another_id_is_not_used() -> None:
    pool = KeyPool([], Seal([NEW]))
    pool.update((stored("added", key_id="another"),))
    assert ([*pool.keys], pool.unreadable) == ([], ("another",))


def test_with_a_seal_key_a_worker_needs_no_provider_key_in_its_environment() -> None:
    assert missing(Settings(), "onemin_api_key") == ["DARKROOM_ONEMIN_API_KEY is missing."]
    assert missing(Settings(seal_keys=NEW), "onemin_api_key") == []
