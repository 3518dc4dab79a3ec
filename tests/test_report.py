"""Reports show names as they are, whatever they hold; figures are the same every time."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gpulab.report.facts import RunClock, peak_memory_bytes, versions
from gpulab.report.figures import new_figure, save_figure
from gpulab.report.markdown import Report, escape

HOSTILE = ["```galaxy\njob_metrics()\n```", "${galaxy history_link()}", "<script>x</script>", "a|b"]


@given(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=60)))
@settings(max_examples=200)
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    rendered = MarkdownIt("commonmark").parse(f"x{escape(text)}x")
    assert len(rendered) == 3, "one paragraph: nothing of the text is markup"
    kinds = {child.type for child in rendered[1].children or []}
    assert kinds <= {"text", "text_special"}
    assert "```" not in escape(text)
    assert "${" not in escape(text)


def test_a_cell_cannot_add_a_column(tmp_path: Path) -> None:
    report = Report("Title")
    report.table(("name", "value"), [("a|b", "c\nd")])
    report.write(tmp_path / "report.md")
    table = (tmp_path / "report.md").read_text().split("\n\n")[1].splitlines()
    assert table[-1] == "| a\\|b | c d |"


def test_images_and_tables_are_directives_of_galaxy(tmp_path: Path) -> None:
    report = Report("Title")
    report.image("curves")
    report.dataset_table("history")
    report.warning("look *here*")
    report.write(tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    assert '```galaxy\nhistory_dataset_as_image(output="curves")\n```' in text
    assert '```galaxy\nhistory_dataset_as_table(output="history", show_column_headers=true)' in text
    assert "> **Please note:** look \\*here\\*" in text


def test_facts_name_what_ran() -> None:
    facts = RunClock().facts(device="cpu", packages=("numpy", "no-such-package"), seed=3)
    assert list(facts) == ["Seed", "Device", "Wall time", "Peak memory", "Versions"]
    assert "numpy" in facts["Versions"]
    assert "no-such-package" not in facts["Versions"]
    assert "numpy" in versions(("numpy",))
    assert peak_memory_bytes() > 10_000_000


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        figure, axes = new_figure(1, 2, width=4, height=2)
        axes[0, 1].plot([1, 2], [3, 4])
        save_figure(figure, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_long_report_keeps_what_galaxy_shows(tmp_path: Path) -> None:
    report = Report("Long")
    report.text("first")
    report.table(("n",), [(number,) for number in range(5000)])
    report.text("last")
    report.write(tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "first" in text
    assert "last" not in text
    assert text.rstrip().endswith("see the other outputs.*")
    assert len(text.encode()) <= 10 * 1024
