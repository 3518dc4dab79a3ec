"""The page of a large notebook: it is written in time, and shortened where it must be."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from notebook_pages import page, shown

from gpulab.notebook.page_html import clean_html


def test_long_texts_are_shortened_and_say_so(tmp_path: Path) -> None:
    cells = [
        new_code_cell("x", outputs=[new_output("stream", text="é" * 3_000_000)]),
        shown({"text/html": "<b>y</b>" * 1_000_000}),
        new_code_cell("z = '" + "z" * 1_000_000 + "'", outputs=[]),
    ]
    begin = time.monotonic()
    html = page(tmp_path, new_notebook(cells=cells))
    assert time.monotonic() - begin < 20
    assert len(html) < 2_000_000
    words = re.sub(r"<[^>]+>", "", html)
    assert words.count("the executed notebook holds it") == 3


@pytest.mark.parametrize(
    "text", ["<a " * 300_000, "<!--" * 300_000, "<" * 1_000_000, "<div>" * 300_000, "<![" * 300_000]
)
def test_html_that_is_made_to_be_slow_is_not(text: str) -> None:
    begin = time.monotonic()
    clean_html(text)
    assert time.monotonic() - begin < 20


LARGE = """
import base64, os, resource, sys, time
from pathlib import Path
import nbconvert
from nbformat.v4 import new_code_cell, new_notebook, new_output
from gpulab.notebook.page import write_page
pictures = [base64.b64encode(os.urandom(1_000_000)).decode() for _ in range(50)]
outputs = [new_output("display_data", {"image/png": picture}) for picture in pictures]
cells = [new_code_cell("x", outputs=[output]) for output in outputs]
notebook = new_notebook(cells=cells)
write_page(new_notebook(), Path(sys.argv[1]), hide_code=False, title="t")  # loads the libraries
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin = time.monotonic()
write_page(notebook, Path(sys.argv[1]), hide_code=False, title="t")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, time.monotonic() - begin)
"""


def test_fifty_megabytes_of_pictures(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    command = [sys.executable, "-c", LARGE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kibibytes, seconds = map(float, done.stdout.split())
    assert path.stat().st_size > 66_000_000
    assert kibibytes < 60_000, "the pictures were copied in memory"
    assert seconds < 10


def test_a_very_long_cell_is_coloured_in_time(tmp_path: Path) -> None:
    source = "\n".join(f"value_{n} = function({n}, 'text')  # words" for n in range(5_000))
    begin = time.process_time()
    html = page(tmp_path, new_notebook(cells=[new_code_cell(source, execution_count=1)]))
    assert time.process_time() - begin < 15
    assert '<span class="n">value_4999</span>' in html
