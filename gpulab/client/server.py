"""Which server, and with which key: from arguments, the environment or BioBlend's settings."""

from __future__ import annotations

import configparser
import ipaddress
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from gpulab.errors import InputError

URL_VARIABLES = ("GALAXY_SERVER", "GALAXY_URL")
KEY_VARIABLES = ("GALAXY_API_KEY", "API_KEY")
CONFIG_SECTIONS = ("galaxy", "Galaxy")


@dataclass(frozen=True)
class Server:
    """Address and API key of a Galaxy server; the key is not shown.

    Attributes:
        url: Address without a slash at the end.
        key: The user's API key.
    """

    url: str
    key: str = field(repr=False)

    @property
    def warning(self) -> str:
        """A sentence where the key would travel readable for everybody on the way, else empty."""
        parts = urlsplit(self.url)
        if parts.scheme == "https" or is_loopback(parts.hostname or ""):
            return ""
        return (
            f"{self.url} is not encrypted: everybody between here and there can read the API key "
            "and the data; use the server's https:// address."
        )


def find_server(
    url: str | None = None,
    key: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    config_files: list[Path] | None = None,
) -> Server:
    """Find address and key: arguments first, then the environment, then BioBlend's settings.

    A key belongs to the server that stands beside it: where the arguments or the environment name
    another server than the place in which a key is found, that key is not sent there.

    Args:
        url: Address of the server.
        key: The API key.
        environ: Environment variables; by default those of this process.
        config_files: BioBlend's configuration files; by default where BioBlend reads them.

    Raises:
        InputError: There is no address or no key, or the address is none.
    """
    asked = _clean_url(url) if url else ""
    found_key = (key or "").strip()
    places = _places(os.environ if environ is None else environ, config_files)
    # A place is read only when it is needed: a damaged file elsewhere is no hindrance.
    while not (asked and found_key):
        place_url, place_key = next(places, (None, None))
        if place_url is None or place_key is None:
            break
        here = _clean_url(place_url) if place_url else ""
        if asked and here and here != asked:
            continue
        asked = asked or here
        found_key = found_key or place_key
    if not asked:
        raise InputError(
            "No Galaxy server is named: give its address as the argument `server` or in the "
            "environment variable GALAXY_SERVER"
        )
    if not found_key:
        raise InputError(
            f"There is no API key for {asked}: put it into the environment variable "
            "GALAXY_API_KEY (Galaxy shows it under User, Preferences, Manage API key)"
        )
    if not found_key.isascii() or not found_key.isprintable() or " " in found_key:
        raise InputError("The API key holds characters that no key has: copy it again")
    return Server(asked, found_key)


def _places(
    environ: Mapping[str, str], config_files: list[Path] | None
) -> Iterator[tuple[str, str]]:
    """Give pairs of address and key, either of which may be empty, the strongest first."""
    yield _first(environ, URL_VARIABLES), _first(environ, KEY_VARIABLES)
    # The values are read as they are: a key may hold a percent sign.
    settings = configparser.ConfigParser(interpolation=None)
    files = _bioblend_files() if config_files is None else config_files
    try:
        settings.read(files, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        # The message of a parser's error quotes the line, which may be the one with the key.
        names = ", ".join(str(path) for path in files)
        raise InputError(
            f"BioBlend's configuration file ({names}) cannot be read as `name = value` lines "
            f"below [galaxy]: {type(error).__name__}"
        ) from None
    for section in CONFIG_SECTIONS:
        if settings.has_section(section):
            values = settings[section]
            yield values.get("url", "").strip(), values.get("key", "").strip()


def _bioblend_files() -> list[Path]:
    from bioblend.config import BioBlendConfigLocations

    return [Path(location) for location in BioBlendConfigLocations]


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name].strip() for name in names if environ.get(name, "").strip()), "")


def _clean_url(url: str) -> str:
    """Return the address in one form, so that two spellings of it are the same."""
    text = url.strip()
    if "://" not in text:
        host = urlsplit(f"//{text}").hostname or ""
        text = f"{'http' if is_loopback(host) else 'https'}://{text}"
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise InputError(f"The address of the server is not one: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            "The address of the server must look like https://galaxy.example.org, not like "
            f"{parts.scheme}://{parts.hostname or ''}"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            f"Give the address of {parts.hostname} alone: no password, key or question in it"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return urlunsplit((parts.scheme, host + port, parts.path.rstrip("/"), "", ""))


def is_loopback(host: str) -> bool:
    """Tell whether a host name is this machine, so that nothing leaves it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
