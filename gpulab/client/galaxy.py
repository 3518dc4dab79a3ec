"""BioBlend's connection, with a limit on every wait and a key that stays with its server."""

from __future__ import annotations

from typing import Any

import requests
from bioblend.galaxy import GalaxyInstance

from gpulab.client.network import again, ask, refusal
from gpulab.client.server import Server
from gpulab.errors import InputError

CONNECT_LIMIT = 20.0  # seconds
ANSWER_LIMIT = 180.0  # seconds without a byte; a busy server takes long to accept a job
FIRST_PATIENCE = 10.0  # seconds: at the first request a wrong address is the likelier reason


class Galaxy(GalaxyInstance):  # type: ignore[misc] # BioBlend is not type-checked here
    """A connection that never takes the key to another address and never waits for ever.

    Args:
        server: Address and key.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(server.url, key=server.key, verify=True, user_agent="gpulab")
        self.timeout = (CONNECT_LIMIT, ANSWER_LIMIT)

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("A connection holds the API key and is not written anywhere: keep the id")

    def make_get_request(self, url: str, **options: Any) -> requests.Response:
        """Do a GET request; refuse a redirection, on which the header with the key would go along.

        Raises:
            InputError: The server sends the request elsewhere.
        """
        # BioBlend turns a failure of the network into a text, which `ask` could not tell apart.
        answer = ask(
            lambda: super(Galaxy, self).make_get_request(url, allow_redirects=False, **options),
            "reading from the server",
        )
        if answer.is_redirect:
            target = answer.headers.get("location", "")
            raise InputError(
                f"The server sends requests on to {target[:200]}: give that address as the server's"
            )
        return answer

    def read(self, path: str, doing: str, **params: Any) -> Any:
        """Return the JSON answer to a GET request below `/api/`, patient with the network.

        Raises:
            InputError: The server refuses.
            ServerError: No answer in time, or a failure of the server.
        """

        def request() -> Any:
            answer = self.make_get_request(f"{self.url}/{path}", params=params)
            if answer.status_code != 200:
                raise refusal(answer.status_code, answer.content, doing)
            try:
                return answer.json()
            except ValueError:
                raise refusal(200, "", doing) from None

        return again(request, doing)


def connect(server: Server) -> tuple[Galaxy, str]:
    """Connect and return the connection with the user's id.

    Raises:
        InputError: No Galaxy answers there, or it does not accept the key.
    """
    galaxy = Galaxy(server)
    user = again(
        lambda: galaxy.users.get_current_user(),
        f"connecting to {server.url}",
        patience=FIRST_PATIENCE,
    )
    if not isinstance(user, dict) or not user.get("id"):
        raise InputError(f"{server.url} does not know the user of this API key")
    return galaxy, str(user["id"])
