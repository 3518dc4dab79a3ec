"""Requests that are repeated when the network fails, and those that must not happen twice."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gpulab.client.errors import ServerError
from gpulab.errors import InputError

T = TypeVar("T")

# Busy, restarting, or a proxy that found nobody behind it: worth another attempt.
TRANSIENT = frozenset({408, 425, 429, 502, 503, 504})
PATIENCE = 180.0  # seconds for which a failing network is borne
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 20.0  # seconds between two attempts
LOOK_PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds after each look for what a request may have made


class NoAnswerError(Exception):
    """A request was not answered, or by a server that was too busy.

    Attributes:
        sent: Whether the request may have reached the server and done its work there.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


def ask(request: Callable[[], T], doing: str) -> T:
    """Do one request and turn its failure into `NoAnswerError`, `InputError` or `ServerError`.

    Args:
        request: Does the request, by BioBlend or by requests.
        doing: What is done, for the message: "reading the job".

    Raises:
        NoAnswerError: Another attempt may succeed.
        InputError: The server refuses: wrong key, unknown id, value that it does not take.
        ServerError: The server answers with a failure of its own.
    """
    import bioblend
    import requests

    try:
        return request()
    except requests.exceptions.SSLError as error:
        raise InputError(
            f"The server's certificate cannot be trusted while {doing}: check the address, or let "
            "REQUESTS_CA_BUNDLE name your institution's certificates"
        ) from error
    except requests.exceptions.ProxyError as error:
        raise NoAnswerError(f"the proxy does not answer: {_short(error)}", sent=False) from error
    except requests.exceptions.ConnectTimeout as error:
        raise NoAnswerError("the server does not answer", sent=False) from error
    except (
        requests.exceptions.ConnectionError,
        requests.exceptions.Timeout,
        requests.exceptions.ChunkedEncodingError,
    ) as error:
        raise NoAnswerError(_short(error), sent=not _never_connected(error)) from error
    except bioblend.ConnectionError as error:
        raise refusal(error.status_code or 0, error.body, doing) from None


def again(request: Callable[[], T], doing: str, *, patience: float = PATIENCE) -> T:
    """Do a request that may be repeated, until it is answered or `patience` seconds are over.

    Raises:
        InputError: The server refuses.
        ServerError: No answer in time, or a failure of the server.
    """
    from tenacity import retry_if_exception_type, stop_after_delay

    attempts = _attempts(
        retry=retry_if_exception_type(NoAnswerError), stop=stop_after_delay(patience)
    )
    try:
        result: T = attempts(ask, request, doing)
    except NoAnswerError as error:
        raise gave_up(error, doing, patience) from error
    return result


def once(
    request: Callable[[], T],
    find: Callable[[], T | None],
    doing: str,
    *,
    patience: float = PATIENCE,
) -> T:
    """Do a request that must not take effect twice.

    Where the answer got lost, `find` looks for what the request would have made; it is sent again
    only when that is not there.

    Args:
        request: Does the request.
        find: Returns what the request makes, or None.
        doing: What is done, for messages.
        patience: Seconds for which a failing network is borne.

    Raises:
        InputError: The server refuses.
        ServerError: No answer in time, or a failure of the server.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return ask(request, doing)
        except NoAnswerError as error:
            found = _look(find, doing) if error.sent else None
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise gave_up(error, doing, patience) from error
            time.sleep(FIRST_PAUSE)


def _look(find: Callable[[], T | None], doing: str) -> T | None:
    """Look a few times: the server may still be at work on a request whose answer got lost."""
    for pause in LOOK_PAUSES:
        found = again(find, f"looking whether {doing} succeeded")
        if found is not None:
            return found
        time.sleep(pause)
    return None


def _attempts(**options: Any) -> Any:
    from tenacity import Retrying, wait_random_exponential

    return Retrying(
        wait=wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
        reraise=True,
        **options,
    )


def gave_up(error: Exception, doing: str, patience: float) -> ServerError:
    """Return the error of an attempt that was the last."""
    return ServerError(f"Gave up {doing} after {patience:.0f} s: {error}")


def refusal(status: int, body: Any, doing: str) -> Exception:
    """Return what to raise for an answer that is not a success.

    Args:
        status: HTTP status; 0 where there was no answer.
        body: Body of the answer.
        doing: What was done, for the message.
    """
    said = _said(body)
    if status == 0:
        return NoAnswerError(said or "the server does not answer", sent=True)
    if status in TRANSIENT:
        return NoAnswerError(f"the server answers {status} {said}".strip(), sent=True)
    if status == 200 or 300 <= status < 400:
        return InputError(f"What answers at this address is no Galaxy ({doing}): check the address")
    if status == 401:
        return InputError(f"The server does not accept the API key ({said}): make a new one there")
    if 400 <= status < 500:
        return InputError(f"The server refuses {doing} ({status}): {said}")
    return ServerError(f"The server failed {doing} ({status}): {said}")


def _said(body: Any) -> str:
    """Return the server's own words about a failure, short and on one line."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if isinstance(answer, Mapping) and answer.get("err_msg"):
        details = answer.get("err_data")
        text = f"{answer['err_msg']} {json.dumps(details) if details else ''}"
    elif text.lstrip().startswith("<"):
        text = "a web page instead of an answer"
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:500]


def _never_connected(error: Exception) -> bool:
    """Tell whether the connection itself failed, so that nothing was sent."""
    from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError

    reason = error.args[0] if error.args else None
    if isinstance(reason, MaxRetryError):
        return isinstance(reason.reason, NewConnectionError | NameResolutionError)
    return False


def _short(error: Exception) -> str:
    """Return the reason of a network failure without the address, which may be long."""
    reason: Any = error
    while getattr(reason, "reason", None) is not None or (
        reason.args and isinstance(reason.args[0], Exception)
    ):
        reason = getattr(reason, "reason", None) or reason.args[0]
    return " ".join((str(reason) or type(reason).__name__).split())[:300]
