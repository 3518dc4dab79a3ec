"""The few requests to Galaxy's API that are needed outside of Galaxy's own environment."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from localgalaxy.console import LocalGalaxyError

# Loopback must not go through a proxy that the user's variables name.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def request(
    url: str,
    path: str,
    *,
    key: str = "",
    method: str = "GET",
    body: Any = None,
    timeout: float = 60,
) -> Any:
    """Send a request and return what the JSON answer says.

    Raises:
        OSError: Nobody answers.
        LocalGalaxyError: Galaxy refuses.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if key:
        headers["x-api-key"] = key
    data = None if body is None else json.dumps(body).encode()
    message = urllib.request.Request(  # noqa: S310 - the address is our own
        url.rstrip("/") + path, data=data, headers=headers, method=method
    )
    try:
        with _OPENER.open(message, timeout=timeout) as answer:
            text = answer.read().decode("utf-8")
    except urllib.error.HTTPError as error:
        detail = error.read().decode("utf-8", "replace")[:500]
        raise LocalGalaxyError(f"Galaxy refused {method} {path}: {error.code} {detail}") from error
    return json.loads(text) if text.strip() else None


def answers(url: str, timeout: float = 5) -> bool:
    """Tell whether a Galaxy answers at this address."""
    try:
        version = request(url, "/api/version", timeout=timeout)
    except (OSError, ValueError, LocalGalaxyError):
        return False
    return isinstance(version, dict) and "version_major" in version


def exists(address: str, timeout: float = 60) -> bool:
    """Tell whether an address can be fetched."""
    try:
        with _OPENER.open(address, timeout=timeout):
            return True
    except OSError:
        return False


def ensure_user(url: str, admin_key: str, *, email: str, name: str, password: str) -> str:
    """Make the user when missing and return the user's API key."""
    users = request(url, f"/api/users?f_email={email}", key=admin_key)
    known = [user for user in users if user["email"] == email]
    if known:
        user = known[0]
    else:
        body = {"email": email, "username": name, "password": password}
        user = request(url, "/api/users", key=admin_key, method="POST", body=body)
    key = request(url, f"/api/users/{user['id']}/api_key", key=admin_key, method="POST")
    return str(key)
