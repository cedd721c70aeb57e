import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.catalog.manifest import Document, Problem, join_path, locate, parse_manifest


def test_documents_are_counted_as_a_reader_counts_them() -> None:
    manifest = parse_manifest("---\n# nothing\n---\na: 1\n---\nb: [2, {c: three}]\n", "f.yaml")
    assert [(each.index, each.line, each.object) for each in manifest.documents] == [
        (1, 4, {"a": 1}),
        (2, 6, {"b": [2, {"c": "three"}]}),
    ]
    assert manifest.problems == ()


def test_values_are_those_of_yaml_1_2() -> None:
    text = "{a: yes, b: true, c: 010, d: 0x1F, e: 1.5, f: null, g: 2026-01-02, h: .inf, i: '5', j: 1_000}"
    (document,) = parse_manifest(text, "").documents
    wanted = {"a": "yes", "b": True, "d": 31, "e": 1.5, "f": None, "g": "2026-01-02", "h": ".inf", "i": "5"}
    assert {key: document.object[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("text", "path", "says", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "a", "given twice, first on line 1", 3),
        ("s:\n  d:\n  - {x: 1, x: 2}\n", "s.d[0].x", "given twice", 3),
        ("a: &m {x: 1}\nb:\n  <<: *m\n", "b", "the key << is not text", 3),
        ("5: a\n", "", "the key 5 is not text", 1),
        ("a: !!python/object:os.system x\n", "a", "tag python/object:os.system is not allowed", 1),
        ("a: !secret x\n", "a", "not allowed", 1),
        ("? [a]\n: b\n", "", "is not text", 1),
    ],
)
def test_what_could_mean_something_else_than_it_says_is_refused(text: str, path: str, says: str, line: int) -> None:
    (problem,) = parse_manifest(text, "f.yaml").problems
    assert (problem.path, problem.line) == (path, line)
    assert says in problem.message


def test_a_broken_document_keeps_the_ones_before_it() -> None:
    manifest = parse_manifest("a: 1\n---\nb: [1\n", "f.yaml")
    assert [each.object for each in manifest.documents] == [{"a": 1}]
    assert [(each.document, each.message[:8]) for each in manifest.problems] == [(1, "not YAML")]


def test_a_small_file_does_not_become_a_huge_one() -> None:
    levels = "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(9))
    (problem,) = parse_manifest(f"a: &a [x,x,x,x,x,x,x,x,x,x]\n{levels}", "f").problems
    assert "too many" in problem.message
    assert "too many" in parse_manifest("a: &a [*a]\n", "f").problems[0].message
    assert parse_manifest("[" * 3000, "f").problems[0].message.startswith("not YAML")


def test_problems_of_the_api_get_their_lines_back() -> None:
    (document,) = parse_manifest("a:\n  b:\n  - c: 1\n", "f.yaml").documents
    problems = (Problem("f.yaml", 0, "a.b[0].c", "x"), Problem("f.yaml", 0, "a.b[7].z", "y"), Problem("g", 0, "", "z"))
    assert [each.line for each in locate(problems, (document,))] == [3, 2, None]


@given(st.text(alphabet="ab:{}[]-&*!|>'\"\n #?,%@\t<0", max_size=60))
def test_no_text_makes_it_fail_in_an_unforeseen_way(text: str) -> None:
    manifest = parse_manifest(text, "f")
    assert all(isinstance(each, Document) for each in manifest.documents)


@given(st.lists(st.text(alphabet="abc", min_size=1) | st.integers(min_value=0, max_value=9), min_size=1))
def test_a_line_is_found_for_any_path(steps: list[str | int]) -> None:
    path = ""
    for step in steps:
        path = join_path(path, step)
    assert Document("f", 0, 7, {}, {"": 7}).line_of(path) == 7
