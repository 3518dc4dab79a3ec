"""What a page holds and does not hold: pieces set aside until it is written, and its bounds."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TextIO

MAX_TEXT = 200_000  # characters of one printed text
MAX_HTML = 2_000_000  # characters of one HTML output, without the pictures in it
MAX_ALL_TEXT = 40_000_000  # characters of all texts and HTML of a page
MAX_ALL_PICTURES = 400_000_000  # characters of Base64 of all pictures of a page
MAX_OUTPUTS = 5_000  # of a page
LEFT_OUT = "left out of this page, the executed notebook holds it"

_DATA = re.compile(
    r"data:(image/(?:png|jpeg|gif|webp|bmp|svg\+xml)|audio/[\w.+-]{1,40}|video/[\w.+-]{1,40})"
    r";base64,([A-Za-z0-9+/=]+)"
)


class Pieces:
    """Long or finished pieces of a page; a short word stands for each until the page is written.

    So a picture of many megabytes is never parsed, copied or escaped, and what has been made safe
    is not touched again.
    """

    def __init__(self) -> None:
        # Nobody can write a word that stands for a piece without knowing this.
        self._mark = f"piece{secrets.token_hex(12)}n"
        self._pattern = re.compile(rf"{self._mark}(\d+)e")
        self._pieces: list[str] = []

    def keep(self, text: str) -> str:
        """Set a piece aside and return the word that stands for it."""
        self._pieces.append(text)
        return f"{self._mark}{len(self._pieces) - 1}e"

    def keep_data(self, text: str) -> str:
        """Set aside what the `data:` addresses of pictures and sounds in a text hold."""
        return _DATA.sub(lambda m: f"data:{m[1]};base64,{self.keep(m[2])}", text)

    def write(self, text: str, stream: TextIO) -> None:
        """Write a text with all pieces in their places."""
        # A piece can hold words of earlier pieces alone, so this ends.
        for number, part in enumerate(self._pattern.split(text)):
            if number % 2:
                self.write(self._pieces[int(part)], stream)
            else:
                stream.write(part)


@dataclass
class Budget:
    """How much a page may still take."""

    text: int = MAX_ALL_TEXT
    pictures: int = MAX_ALL_PICTURES
    outputs: int = MAX_OUTPUTS

    def take_text(self, characters: int) -> bool:
        """Return whether there is room for a text of this length, and count it."""
        self.text -= characters
        return self.text >= 0

    def take_picture(self, characters: int) -> bool:
        """Return whether there is room for a picture of this length, and count it."""
        if characters > self.pictures:
            return False
        self.pictures -= characters
        return True

    def take_output(self) -> bool:
        """Return whether one more output has room, and count it."""
        self.outputs -= 1
        return self.outputs >= 0


def shorten(text: str, length: int = MAX_TEXT) -> str:
    """Return a text with its middle left out where it is too long."""
    if len(text) <= length:
        return text
    half = length // 2
    return (
        f"{text[:half]}\n\n[… {len(text) - 2 * half:,} characters {LEFT_OUT} …]\n\n{text[-half:]}"
    )
