"""Reading sequences: what users write, what they get wrong, and what hostile files hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpulab.errors import InputError
from gpulab.fold.queries import (
    MAX_FILE_BYTES,
    Limits,
    parse_queries,
    read_queries,
    unique_names,
    usable,
    write_fasta,
)

LIMITS = Limits(min_residues=4, max_residues=100, max_queries=5)
GOOD = "PIAQIHILEGRS"


def parse(text: str, limits: Limits = LIMITS) -> list[tuple[str, tuple[str, ...]]]:
    return [(query.name, query.chains) for query in parse_queries(text, "input", limits)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f">a b c\n{GOOD}\n", [("a", (GOOD,))]),
        (f"\ufeff>a\r\n{GOOD[:5]}\r\n{GOOD[5:].lower()}\r\n", [("a", (GOOD,))]),
        (f">sp|P12345|X_HUMAN text\n{GOOD}*\n", [("sp_P12345_X_HUMAN", (GOOD,))]),
        (f">ab\n{GOOD}:\n{GOOD}", [("ab", (GOOD, GOOD))]),
        (f">../../etc/x\n{GOOD}", [("etc_x", (GOOD,))]),
        (f">\n{GOOD}\n>-rf\n{GOOD}", [("query_1", (GOOD,)), ("rf", (GOOD,))]),
        (GOOD, [("query_1", (GOOD,))]),
        (f"{GOOD[:6]}\n{GOOD[6:]}:{GOOD}\n", [("query_1", (GOOD, GOOD))]),
        (f"one\t{GOOD}\ntwo\t{GOOD}\n", [("one", (GOOD,)), ("two", (GOOD,))]),
        (f"id,sequence\none,{GOOD}:{GOOD}\n", [("one", (GOOD, GOOD))]),
        (f'note;Sequence;ID\n"a;b";{GOOD};two\n', [("two", (GOOD,))]),
        (f"sequence\tgene\n{GOOD}\tabc\n", [("abc", (GOOD,))]),
    ],
)
def test_every_form_that_users_write(text: str, expected: list[tuple[str, tuple[str]]]) -> None:
    assert parse(text) == expected


def test_labels_stay_and_names_differ() -> None:
    text = "".join(f">{name}\n{GOOD}\n" for name in ("x one", "X two", "x_2", "", "ü/é"))
    queries = parse_queries(text, "input", LIMITS)
    assert [query.name for query in queries] == ["x", "X_2", "x_2_2", "query_4", "query_5"]
    assert [query.label for query in queries] == ["x one", "X two", "x_2", "query_4", "ü/é"]


@pytest.mark.parametrize(
    ("chain", "problem"),
    [
        ("PIAQ*IHI", "holds '*' at position 5, which is a stop codon in the middle"),
        ("PIA-QIHI", "holds '-' at position 4, which is a gap"),
        ("PIAUQIHI", "holds 'U' at position 4, which is selenocysteine, write C or X"),
        ("PIA1QIHI", "holds '1' at position 4, which is no residue"),
        ("PIA", "has 3 residue(s), this server takes chains of at least 4"),
        ("", "has no sequence"),
        ("XXXXX", "holds nothing but X"),
        ("PIAQ:", "chain 2, is empty"),
        ("PIAQ:PIBQ", "chain 2, holds 'B' at position 3"),
        ("A" * 101, "has 101 residues, this server folds at most 100"),
        (":".join(["PIAQ"] * 63), "has 63 chains"),
        ("ACGTACGTACGTACGTACGTACGTACGTACGT", "looks like DNA"),
    ],
)
def test_one_bad_query_is_told_and_the_good_one_stays(chain: str, problem: str) -> None:
    limits = Limits(min_residues=4, max_residues=300 if "63" in problem else 100)
    queries = parse_queries(f">bad\n{chain}\n>good\n{GOOD}\n", "input", limits)
    assert [query.name for query in usable(queries)] == ["good"]
    assert queries[0].problem.startswith("The query 'bad'")
    assert problem in queries[0].problem
    with pytest.raises(InputError, match=re.escape(problem)):
        parse_queries(f">bad\n{chain}\n", "input", limits)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "are empty"),
        (b" \n\r\n ", "are empty"),
        (b"\x1f\x8b\x08 and so on", "are compressed"),
        (b"\x89PNG\x00\xff", "are no text"),
        (b">a\nPIAQ\x00QIHI", "are no text"),
        (b"HEADER    HYDROLASE", "are neither FASTA"),
        (b"id,sequence\n", "has a header alone"),
        (b"a,PIAQI\nb\n", "Row 2 of the table 'my file' has 1 column"),
        (b'a,"PIAQI\nb', "cannot be read"),
        (b">a\nPIAQI\n" * 6, "are more than 5"),
        (
            b">a\n:\n>b\n*\n",
            "The query 'a' has no sequence, give its residues or leave it out (",
        ),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "dataset.dat"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        read_queries(path, "my file", LIMITS)
    assert "\n" not in str(refused.value)


def test_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "dataset.dat"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(InputError, match="split them"):
        read_queries(path, "big", LIMITS)


def test_limits_of_the_administrator() -> None:
    variables = {"COLABFOLD_AA_LENGTH_MAX": "50", "COLABFOLD_MAX_SEQUENCES": " 2 "}
    assert Limits.of_environment(variables) == Limits(max_residues=50, max_queries=2)
    for wrong in ("-1", "0", "many", "٣"):
        with pytest.raises(InputError, match="tell the administrator"):
            Limits.of_environment({"COLABFOLD_AA_LENGTH_MIN": wrong})


def test_limits_hold_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLABFOLD_AA_LENGTH_MAX", "11")
    with pytest.raises(InputError, match="at most 11"):
        parse_queries(f">a\n{GOOD}", "input")


def test_fasta_for_colabfold_has_our_names(tmp_path: Path) -> None:
    queries = parse_queries(f">a long name\n{GOOD}:{GOOD}\n>b\n{GOOD}\n", "input", LIMITS)
    path = tmp_path / "queries.fasta"
    assert write_fasta(queries, path) == {"q0001": queries[0], "q0002": queries[1]}
    assert path.read_text() == f">q0001\n{GOOD}:{GOOD}\n>q0002\n{GOOD}\n"
    bad = parse_queries(f">bad\nX*X\n>good\n{GOOD}\n", "input", LIMITS)
    with pytest.raises(ValueError, match="problem"):
        write_fasta(bad, path)


@given(st.lists(st.text(max_size=80), min_size=1, max_size=20))
def test_names_are_safe_and_different(labels: list[str]) -> None:
    names = unique_names(labels)
    assert len({name.lower() for name in names}) == len(labels)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,70}", name) for name in names)


@given(st.text(max_size=200) | st.text("ACDX:*>\n\r\t,;\"' -bé", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        queries = parse_queries(text, "input", LIMITS)
    except InputError as refused:
        assert str(refused).isprintable()
        return
    assert any(not query.problem for query in queries)
    for query in usable(queries):
        assert query.length <= LIMITS.max_residues
        for chain in query.chains:
            assert len(chain) >= LIMITS.min_residues
            assert set(chain) <= set("ACDEFGHIKLMNPQRSTVWYX")


chains = st.text("ACDEFGHIKLMNPQRSTVWY", min_size=4, max_size=20)


@given(st.lists(st.lists(chains, min_size=1, max_size=4), min_size=1, max_size=5))
def test_what_is_written_is_read_again(all_chains: list[list[str]]) -> None:
    fasta = "".join(f">n{i}\n{':'.join(each)}\n" for i, each in enumerate(all_chains))
    table = "".join(f"n{i}\t{':'.join(each)}\n" for i, each in enumerate(all_chains))
    expected = [tuple(each) for each in all_chains]
    assert [chains for _, chains in parse(fasta)] == expected
    assert [chains for _, chains in parse(table)] == expected
