"""Formulas as MathML, which browsers show without a program."""

from __future__ import annotations

import re
from html import escape
from xml.etree import ElementTree

MAX_FORMULA = 5_000  # characters

_NAMESPACE = "http://www.w3.org/1998/Math/MathML"
_ELEMENTS_WORDS = """
math mi mn mo ms mtext mspace mrow mfrac msqrt mroot mstyle merror mpadded mphantom mfenced
menclose msub msup msubsup munder mover munderover mmultiscripts mprescripts none mtable mtr
mlabeledtr mtd
"""
_ELEMENTS = frozenset(_ELEMENTS_WORDS.split())
_ATTRIBUTES_WORDS = """
accent accentunder bevelled close columnalign columnlines columnspacing depth display
displaystyle fence form frame height largeop linethickness linebreak lspace mathcolor
mathbackground mathsize mathvariant maxsize minsize movablelimits notation open rowalign
rowlines rowspacing rspace scriptlevel separator stretchy symmetric voffset width
"""
_ATTRIBUTES = frozenset(_ATTRIBUTES_WORDS.split())
# The converter copies these signs as they are, so they travel in disguise.
_LESS, _GREATER = "\ue000", "\ue001"
_BARE_AMPERSAND = re.compile(r"&(?!#x?[0-9A-Fa-f]+;)")


def mathml(formula: str, *, block: bool) -> str:
    """Turn a LaTeX formula into safe MathML.

    Args:
        formula: The formula without its delimiters. Untrusted.
        block: Show it on a line of its own.

    Returns:
        A `math` element, or the formula itself as code where it cannot be read.
    """
    element = _convert(formula, block) if len(formula) <= MAX_FORMULA else None
    if element is None:
        return f"<code>{escape(formula)}</code>"
    return ElementTree.tostring(element, encoding="unicode", short_empty_elements=False)


def _convert(formula: str, block: bool) -> ElementTree.Element | None:
    from latex2mathml.converter import convert

    hidden = formula.replace("<", _LESS).replace(">", _GREATER)
    try:
        text = convert(hidden, display="block" if block else "inline")
        # It has no "<" but those of the converter, so no document type and no entity either.
        element = ElementTree.fromstring(_BARE_AMPERSAND.sub("&amp;", text))  # noqa: S314
    # The converter raises errors of its own and of its insides on what it does not understand.
    except Exception:  # noqa: BLE001
        return None
    _make_safe(element)
    element.set("xmlns", _NAMESPACE)
    return element


def _make_safe(root: ElementTree.Element) -> None:
    for element in root.iter():
        name = element.tag.rpartition("}")[2]
        element.tag = name if name in _ELEMENTS else "mrow"
        for attribute in set(element.attrib) - _ATTRIBUTES:
            del element.attrib[attribute]
        if element.text in (_LESS, _GREATER):
            element.tag = "mo"
        element.text = _undisguise(element.text)
        element.tail = _undisguise(element.tail)


def _undisguise(text: str | None) -> str | None:
    return text.replace(_LESS, "<").replace(_GREATER, ">") if text else text
