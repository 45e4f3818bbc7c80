"""Which URLs go to a proxy: NO_PROXY as curl and Go read it."""

from __future__ import annotations

import pytest

from gateway.transport.proxies import is_excepted, proxy_of

EXCEPTED: dict[str, tuple[str, str]] = {
    "everything": ("*", "https://vendor.example/v1"),
    "everything, among others": ("a.example, *", "https://vendor.example/v1"),
    "a name": ("vendor.example", "https://vendor.example/v1"),
    "a name in capitals": ("VENDOR.Example", "https://vendor.example/v1"),
    "capitals in the URL": ("vendor.example", "https://VENDOR.example/v1"),
    "below a name": ("vendor.example", "https://api.eu.vendor.example/v1"),
    "a leading dot": (".vendor.example", "https://api.vendor.example/v1"),
    "a leading dot and the name itself, as curl": (".vendor.example", "https://vendor.example/v1"),
    "a leading star": ("*.vendor.example", "https://api.vendor.example/v1"),
    "a dot at the end": ("vendor.example.", "https://vendor.example/v1"),
    "a dot at the URL's end": ("vendor.example", "https://vendor.example./v1"),
    "one label": ("localhost", "http://localhost:8000/v1"),
    "a top-level domain": ("internal", "http://rerank.internal/v1"),
    "a name beyond ASCII": ("münchen.example", "https://xn--mnchen-3ya.example/v1"),
    "the second of a list": ("a.example,vendor.example", "https://vendor.example/v1"),
    "a list with spaces": (" a.example ,\tvendor.example ", "https://vendor.example/v1"),
    "a list between spaces": ("a.example vendor.example", "https://vendor.example/v1"),
    "a name and a port": ("vendor.example:8443", "https://vendor.example:8443/v1"),
    "below a name and a port": ("vendor.example:8443", "https://api.vendor.example:8443/v1"),
    "the scheme's port": ("vendor.example:443", "https://vendor.example/v1"),
    "the other scheme's port": ("vendor.example:80", "http://vendor.example/v1"),
    "an address": ("10.1.2.3", "http://10.1.2.3:8000/v1"),
    "an address and a port": ("10.1.2.3:8000", "http://10.1.2.3:8000/v1"),
    "a range": ("10.0.0.0/8", "http://10.1.2.3:8000/v1"),
    "a range from an address within": ("10.9.9.9/8", "http://10.1.2.3/v1"),
    "a range of one": ("10.1.2.3/32", "http://10.1.2.3/v1"),
    "a range of all": ("0.0.0.0/0", "http://10.1.2.3/v1"),
    "an odd range": ("172.16.0.0/12", "http://172.31.255.255/v1"),
    "IPv6": ("fd00::1", "http://[fd00::1]:8000/v1"),
    "IPv6 in brackets": ("[fd00::1]", "http://[fd00::1]/v1"),
    "IPv6 written otherwise": ("FD00:0:0:0:0:0:0:1", "http://[fd00::1]/v1"),
    "IPv6 and a port": ("[fd00::1]:8000", "http://[fd00::1]:8000/v1"),
    "a range of IPv6": ("fd00::/8", "http://[fd12:3456::1]/v1"),
    "a range of IPv6 in brackets": ("[fd00::]/8", "http://[fd12:3456::1]/v1"),
    "IPv4 within IPv6": ("10.0.0.0/8", "http://[::ffff:10.1.2.3]/v1"),
    "loopback": ("::1", "http://[::1]:8000/v1"),
    "a user in the URL": ("vendor.example", "https://user:word@vendor.example/v1"),
}

NOT_EXCEPTED: dict[str, tuple[str, str]] = {
    "nothing": ("", "https://vendor.example/v1"),
    "nothing but separators": (" , ,", "https://vendor.example/v1"),
    "another name": ("other.example", "https://vendor.example/v1"),
    "the end of a label": ("vendor.example", "https://notvendor.example/v1"),
    "the beginning of a name": ("vendor", "https://vendor.example/v1"),
    "below it only": ("api.vendor.example", "https://vendor.example/v1"),
    "a dot alone": (".", "https://vendor.example/v1"),
    "a star and a dot alone": ("*.", "https://vendor.example/v1"),
    "a star elsewhere": ("vendor.*", "https://vendor.example/v1"),
    "another port": ("vendor.example:8443", "https://vendor.example/v1"),
    "another port of a name below": ("vendor.example:8443", "https://api.vendor.example:8444/v1"),
    "another address": ("10.1.2.4", "http://10.1.2.3/v1"),
    "the end of an address": ("2.3", "http://10.1.2.3/v1"),
    "the beginning of an address": ("10.", "http://10.1.2.3/v1"),
    "an address and another port": ("10.1.2.3:80", "http://10.1.2.3:8000/v1"),
    "outside of a range": ("10.0.0.0/8", "http://11.0.0.1/v1"),
    "a range that is none": ("10.0.0.0/33", "http://10.0.0.1/v1"),
    "half a range": ("10.0.0.0/", "http://10.0.0.1/v1"),
    "a range of names": ("vendor.example/8", "https://vendor.example/v1"),
    "a name is not resolved for a range": ("127.0.0.0/8", "http://localhost/v1"),
    "IPv6 outside": ("fd00::/8", "http://[fe80::1]/v1"),
    "a range of the other version": ("::/0", "http://10.1.2.3/v1"),
    "IPv6 and another port": ("[fd00::1]:80", "http://[fd00::1]:8000/v1"),
    "a port that is none": ("vendor.example:https", "https://vendor.example/v1"),
    "an unclosed bracket": ("[fd00::1", "http://[fd00::2]/v1"),
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize(("no_proxy", "url"), EXCEPTED.values(), ids=EXCEPTED)
def test_it_is_reached_without_the_proxy(environment: pytest.MonkeyPatch, name: str, no_proxy: str, url: str) -> None:
    environment.setenv("ALL_PROXY", "http://proxy.example:3128")
    environment.setenv(name, no_proxy)
    assert proxy_of("environment", url) is None
    assert proxy_of("http://other.example:3128", url) == "http://other.example:3128"


@pytest.mark.parametrize(("no_proxy", "url"), NOT_EXCEPTED.values(), ids=NOT_EXCEPTED)
def test_it_is_reached_by_the_proxy(environment: pytest.MonkeyPatch, no_proxy: str, url: str) -> None:
    environment.setenv("ALL_PROXY", "http://proxy.example:3128")
    environment.setenv("NO_PROXY", no_proxy)
    assert proxy_of("environment", url) == "http://proxy.example:3128"


PROXIES: dict[str, tuple[dict[str, str], str | None]] = {
    "none": ({}, None),
    "the scheme's": ({"HTTPS_PROXY": "http://a:1", "ALL_PROXY": "http://b:1"}, "http://a:1"),
    "the other scheme's": ({"HTTP_PROXY": "http://a:1"}, None),
    "all": ({"ALL_PROXY": "socks5://b:1"}, "socks5://b:1"),
    "small letters first": ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:1"}, "http://b:1"),
    "without a scheme": ({"HTTPS_PROXY": "a:1"}, "http://a:1"),
    "empty": ({"HTTPS_PROXY": ""}, None),
    "empty in small letters": ({"HTTPS_PROXY": "http://a:1", "https_proxy": ""}, None),
}


@pytest.mark.parametrize(("variables", "expected"), PROXIES.values(), ids=PROXIES)
def test_the_proxy_of_the_environment(
    environment: pytest.MonkeyPatch, variables: dict[str, str], expected: str | None
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    assert proxy_of("environment", "https://vendor.example/v1") == expected


@pytest.mark.parametrize("entry", ["[" * 5000, ":" * 5000, "1:" * 3000, "." * 9000], ids=lambda entry: entry[:2])
def test_an_entry_that_makes_no_sense_costs_little(entry: str) -> None:
    assert not is_excepted(entry, "vendor.example", 443)
