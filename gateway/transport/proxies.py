"""Which proxy leads to a URL: from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in capitals or small letters.

NO_PROXY has no standard. It is read as curl (since 7.86) and Go's golang.org/x/net/http/httpproxy read it; where they
differ, whatever either of them takes for an exception is one, since a request must not go to a proxy by mistake:
https://curl.se/docs/manpage.html#NOPROXY and https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

_PORTS = {"http": 80, "https": 443}
_ENTRY = re.compile(r"(?P<host>\[[^\]]*\](?:/\d+)?|[^:]*|.*:.*:.*?)(?::(?P<port>\d+))?")
"""A host, and maybe a port. Two colons or more make an IPv6 address, which has a port only behind brackets."""


def proxy_of(setting: str, url: str) -> str | None:
    """The proxy to use for a URL, or None.

    Args:
        setting: `environment`, `none`, or the URL of a proxy, as in ClientSettings.
        url: of the request.
    """
    if setting != "environment":
        return None if setting == "none" else setting
    proxies = getproxies_environment()
    parts = urlsplit(url)
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    port = parts.port or _PORTS.get(parts.scheme, 0)
    if not proxy or is_excepted(proxies.get("no", ""), parts.hostname or "", port):
        return None
    # As in curl, `HTTP_PROXY=host:port` without a scheme means an HTTP proxy.
    return proxy if "://" in proxy else f"http://{proxy}"


def is_excepted(no_proxy: str, host: str, port: int) -> bool:
    """Whether a host is reached without the proxy. Names are not resolved: a range holds only addresses.

    Args:
        no_proxy: entries between commas or spaces: `*`, a name with all below it, an address, or a range of addresses
            (10.0.0.0/8); each may end in a port. What cannot be read is left out.
        host: of the URL, without brackets.
        port: of the URL, or its scheme's.
    """
    host = _plain(host)
    address = _address(host)
    return any(_matches(entry, host, address, port) for entry in re.split(r"[,\s]+", no_proxy) if entry)


def _matches(entry: str, host: str, address: IPv4Address | IPv6Address | None, port: int) -> bool:
    if entry == "*":
        return True
    parts = _ENTRY.fullmatch(entry)
    if parts is None or (parts["port"] is not None and int(parts["port"]) != port):
        return False
    wanted = parts["host"].replace("[", "").replace("]", "")
    if address is not None:
        return _holds(wanted, address)
    name = _plain(wanted.removeprefix("*").removeprefix("."))
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _holds(entry: str, address: IPv4Address | IPv6Address) -> bool:
    """Whether an entry is that address, or a range with it."""
    if "/" not in entry:
        return _address(entry) == address
    try:
        return address in ip_network(entry, strict=False)
    except ValueError:
        return False


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address; of an IPv4 address within IPv6 (RFC 4291 section 2.5.5.2) the former. None for a name."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _plain(name: str) -> str:
    """A name as it is compared: in small letters, in ASCII (RFC 5891), without the dot at its end."""
    name = name.lower().rstrip(".")
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name
