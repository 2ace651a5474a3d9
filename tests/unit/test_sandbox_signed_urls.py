from urllib.parse import parse_qsl, urlsplit

from sandbox.provider.signed_urls import Addresses, Verdict

PATH = "development/images/a.webp"


def verdict(address: str, judge: Addresses, **changed: str) -> Verdict:
    query = dict(parse_qsl(urlsplit(address).query)) | changed
    return judge.judge(PATH, query)


def test_an_address_is_good_while_it_lives() -> None:
    addresses = Addresses(b"secret", lifetime=60)

    assert verdict(addresses.sign("http://h", PATH, 0), addresses) == "ok"


def test_an_address_expires() -> None:
    addresses = Addresses(b"secret", lifetime=-1)

    assert verdict(addresses.sign("http://h", PATH, 0), addresses) == "expired"


def test_an_address_cannot_be_changed_or_forged() -> None:
    addresses = Addresses(b"secret", lifetime=60)
    address = addresses.sign("http://h", PATH, 0)

    for name in ("X-Expires", "X-Issue", "X-Signature"):
        assert verdict(address, addresses, **{name: "9999999999"}) == "tampered"
    assert verdict(address, Addresses(b"other", lifetime=60)) == "tampered"
    assert addresses.judge("another/path", dict(parse_qsl(urlsplit(address).query))) == "tampered"
