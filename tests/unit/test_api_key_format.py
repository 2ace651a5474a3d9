import pytest

from shared.api_keys import new_key, parse_key
from shared.ids import is_job_id, job_id


def test_a_key_is_read_back_and_matches_its_own_hash_only() -> None:
    key = new_key()

    assert parse_key(key.text) == key
    assert key.matches(key.hash)
    assert not key.matches(new_key().hash)
    assert key.secret not in key.hash


@pytest.mark.parametrize("place", [0, 5, 20, 40, -1])
def test_a_mistyped_key_is_none(place: int) -> None:
    text = new_key().text
    wrong = "0" if text[place] != "0" else "1"
    letters = list(text)
    letters[place] = wrong

    assert parse_key("".join(letters)) is None


def test_ids_sort_in_the_order_of_their_making_also_within_a_millisecond() -> None:
    made = [job_id() for _ in range(5000)]

    assert made == sorted(set(made))
    assert all(is_job_id(one) for one in made)
