"""Making a stranger's HTML safe: no script runs, nothing is loaded, and no tag stays open."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser

MAX_DEPTH = 100

_TEXT_TAGS_WORDS = """
a abbr address article aside b bdi bdo big blockquote br caption center cite code col
colgroup dd del details dfn div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6
header hr i ins kbd label li main mark meter nav ol p pre progress q rp rt ruby s samp
section small span strike strong sub summary sup table tbody td tfoot th thead time tr tt u
ul var wbr
"""
_TEXT_TAGS = frozenset(_TEXT_TAGS_WORDS.split())
_MEDIA_TAGS = frozenset({"img", "audio", "video", "source"})
# What is between their tags is for a program, not for a reader.
_HIDDEN_TAGS_WORDS = """
script style iframe object embed applet template noscript noframes noembed svg math canvas
select textarea title head xmp plaintext
"""
_HIDDEN_TAGS = frozenset(_HIDDEN_TAGS_WORDS.split())
_ACTIVE_TAGS = _HIDDEN_TAGS - {"style", "title", "head"}
_VOID_TAGS = frozenset({"br", "col", "hr", "img", "input", "source", "wbr", "embed", "plaintext"})
_ATTRIBUTES_WORDS = """
align alt bgcolor border cellpadding cellspacing checked class color colspan controls
datetime dir for height high id lang low max min open optimum reversed rowspan scope span
start title type valign value width
"""
_ATTRIBUTES = frozenset(_ATTRIBUTES_WORDS.split())
_SECTION = re.compile(r"<!\[[^>]*>")
_LINK = re.compile(r"(https?://|mailto:|#)", re.IGNORECASE)
_DATA = re.compile(r"data:(image|audio|video)/[\w.+-]+;base64,[A-Za-z0-9+/=]*\Z")
_CSS_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{1,6})\s?|(.))", re.DOTALL)
_CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_CSS_URL = re.compile(r"""url\(\s*("[^"]*"|'[^']*'|[^)"']*)\s*\)""", re.IGNORECASE)
_CSS_LOADS = re.compile(
    r"url|src\s*\(|image\s*\(|image-set|@import|@font-face|@namespace|expression|<"
)


@dataclass(frozen=True)
class Cleaned:
    """HTML that is safe to show.

    Attributes:
        html: The markup, with every tag closed.
        visible: It shows something: text, a picture, a sound.
        active: Something that needs a program or another page was taken out.
    """

    html: str
    visible: bool
    active: bool


def clean_html(text: str) -> Cleaned:
    """Keep what shows text, tables, pictures and sounds of untrusted HTML, and nothing else.

    Links to the web stay; pictures and sounds stay if the page itself holds them (`data:`).

    Args:
        text: Any text.
    """
    cleaner = _Cleaner()
    try:
        cleaner.feed(_complete(text))
        cleaner.close()
    except AssertionError:  # how the standard parser gives up on a malformed declaration
        return Cleaned(f"<pre>{escape(text, quote=False)}</pre>", visible=True, active=False)
    return cleaner.finish()


def _complete(text: str) -> str:
    """Take out what the parser needs quadratic time for: comments, sections, unended tags."""
    parts, begin = [], 0
    while (comment := text.find("<!--", begin)) >= 0:
        parts.append(text[begin:comment])
        end = text.find("-->", comment)
        begin = end + 3 if end >= 0 else len(text)
    text = "".join([*parts, text[begin:]])
    last = text.rfind(">") + 1
    return _SECTION.sub("", text[:last]) + text[last:].replace("<", "&lt;")


class _Cleaner(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        self._open: list[str] = []
        self._hidden: list[str] = []
        self._visible = self._active = False

    def finish(self) -> Cleaned:
        self._out += [f"</{tag}>" for tag in reversed(self._open)]
        return Cleaned("".join(self._out), self._visible, self._active)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN_TAGS:
            self._active |= tag in _ACTIVE_TAGS
            if tag not in _VOID_TAGS and len(self._hidden) < MAX_DEPTH:
                self._hidden.append(tag)
        if self._hidden or len(self._open) >= MAX_DEPTH:
            return
        values = {name: value or "" for name, value in attrs}
        if tag in _MEDIA_TAGS:
            self._media(tag, values)
        elif tag == "input":
            if values.get("type") in ("checkbox", "radio"):
                self._out.append(f"<input{_attributes(values)}>")
        elif tag in _TEXT_TAGS:
            self._out.append(f"<{tag}{_attributes(values)}{_link(tag, values)}>")
            self._push(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            if tag == self._hidden[-1]:
                self._hidden.pop()
        elif tag in self._open:
            while True:
                closed = self._open.pop()
                self._out.append(f"</{closed}>")
                if closed == tag:
                    break

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._out.append(escape(data, quote=False))
            self._visible = self._visible or bool(data.strip())
        elif self._hidden == ["style"]:
            # Icons and fonts are not worth losing the rest of a table's look.
            sheet = _CSS_URL.sub("none", data)
            self._out.append("" if _css_loads(sheet) else f"<style>{sheet}</style>")

    def _push(self, tag: str) -> None:
        if tag not in _VOID_TAGS:
            self._open.append(tag)

    def _media(self, tag: str, values: dict[str, str]) -> None:
        source = values.get("src", "").strip()
        if _DATA.match(source):
            self._visible = True
            self._out.append(f'<{tag}{_attributes(values)} src="{escape(source)}">')
            self._push(tag)
        elif tag in ("audio", "video") and not source:
            self._out.append(f"<{tag}{_attributes(values)}>")
            self._push(tag)
        elif source:
            self._visible = True
            name = values.get("alt") or ("" if source.startswith("data:") else source)
            self._out.append(
                f'<span class="absent">[not in this page: {escape(name[:300], quote=False)}]</span>'
            )


def _attributes(values: dict[str, str]) -> str:
    kept = [f' {name}="{escape(values[name])}"' for name in values if name in _ATTRIBUTES]
    style = values.get("style")
    if style and not _css_loads(style):
        kept.append(f' style="{escape(style)}"')
    return "".join(kept)


def _link(tag: str, values: dict[str, str]) -> str:
    target = values.get("href", "").strip()
    if tag != "a" or not _LINK.match(target):
        return ""
    return f' href="{escape(target)}" rel="noopener noreferrer"'


def _css_loads(style: str) -> bool:
    """Return whether a style sheet might load something, also when it spells that with escapes."""

    def character(match: re.Match[str]) -> str:
        code = int(match[1], 16) if match[1] else ord(match[2])
        return chr(code) if 0 < code < 0x110000 else ""

    plain = _CSS_ESCAPE.sub(character, _CSS_COMMENT.sub("", style))
    return bool(_CSS_LOADS.search(plain.lower()))
