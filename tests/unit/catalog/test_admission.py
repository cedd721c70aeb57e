from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.catalog.samples import BAD, GROUP, Bad, app, documents_of, example_documents, resource, vm

from gemel.catalog.admission import admit, check_documents
from gemel.catalog.manifest import Document, Problem
from gemel.catalog.shape import Sound
from gemel.catalog.world import World

EMPTY = World({})


def world_of(documents: Sequence[Document]) -> World:
    admitted = admit(documents, EMPTY)
    assert admitted.problems == ()
    return EMPTY.after((each.resource for each in admitted.sound), frozenset())


EXISTING = world_of(example_documents())


def test_the_examples_are_admitted_at_once_and_again() -> None:
    assert check_documents(example_documents(), EMPTY) == ()
    assert check_documents(example_documents(), EXISTING) == ()


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_document_is_refused_by_place_and_reason(bad: Bad) -> None:
    problems = check_documents(documents_of(bad.text), EXISTING)
    found = [each for each in problems if each.path == bad.path and each.document == bad.document]
    assert found, f"no problem at {bad.path!r} of document {bad.document}: {problems}"
    assert bad.says in found[0].message
    assert bad.right in found[0].expected
    assert found[0].file == "bad.yaml"
    assert found[0].line is not None


def test_there_are_enough_of_them() -> None:
    assert len({bad.name for bad in BAD}) == len(BAD) >= 45


def test_every_problem_says_what_would_be_right() -> None:
    silent = [p for bad in BAD for p in check_documents(documents_of(bad.text), EXISTING) if not p.expected]
    assert silent == []


def test_all_problems_of_all_documents_are_said_at_once() -> None:
    text = vm("cpus: 1, addresses: [198.19.1.10]") + "---\n" + vm("addresses: [198.19.1.10], cpu: 99", "two")
    paths = [(each.document, each.path) for each in check_documents(documents_of(text), EXISTING)]
    assert paths == [(0, "spec.cpus"), (1, "spec.addresses[0]"), (1, "spec.cpu")]


def test_a_reference_to_a_misshapen_neighbour_is_not_called_dangling() -> None:
    text = resource("Image", "new", "os: x, kernl: k") + "---\n" + vm("boot: {image: new}")
    problems = check_documents(documents_of(text), EXISTING)
    assert [(each.document, each.path) for each in problems] == [(0, "spec.kernl")]


def test_lines_lead_to_the_place() -> None:
    text = "\n# a comment\n" + vm("cpu: 1").replace("spec: {", "spec: {\n  running: 5,\n  ")
    problem = check_documents(documents_of(text), EXISTING)[0]
    assert (problem.path, problem.line) == ("spec.running", 7)


def test_what_get_prints_can_be_applied_again() -> None:
    document = Document(
        "",
        0,
        1,
        {
            "apiVersion": "gemel/v1",
            "kind": "Site",
            "metadata": {
                "name": "par1",
                "uid": "61e0c1e6-5c0f-4c4b-9f4e-1d7b5a7f3e11",
                "generation": 3,
                "creationTimestamp": "2026-01-02T03:04:05Z",
            },
            "spec": {"location": "Paris", "prefixes": ["198.19.1.0/24"]},
            "status": {"hosts": "3/3"},
        },
    )
    assert check_documents((document,), EXISTING) == ()


def test_a_verb_s_word_outlives_an_apply_that_does_not_mention_it() -> None:
    stopped = admit(documents_of(vm("running: false")), EXISTING).sound
    world = EXISTING.after((each.resource for each in stopped), frozenset())
    silent = admit(documents_of(vm("cpu: 2")), world).sound[0].resource
    spoken = admit(documents_of(vm("running: true")), world).sound[0].resource
    assert (silent.spec.running, spoken.spec.running) == (False, True)


def test_a_region_is_declared_from_its_first_site() -> None:
    assert check_documents(documents_of(resource("Site", "a", "")), EMPTY) == ()
    text = resource("Image", "tiny", "os: x, kernel: k") + "---\n" + vm("cpu: 200")
    assert check_documents(documents_of(text), EMPTY) == ()


def test_protection_needs_a_second_site() -> None:
    policy = resource("ProtectionPolicy", "p", "recoveryPoint: 20s")
    text = "---\n".join([resource("Site", "par1", ""), policy, app(GROUP + ", protection: p")])
    assert [each.path for each in check_documents(documents_of(text), EMPTY)] == ["spec.protection"]


def test_a_protected_guest_must_fit_on_both_sites() -> None:
    hosts = [
        resource("Host", f"{s}-1", f"site: {s}, cpu: {c}, memory: 8Gi, address: 198.18.9.{c}")
        for s, c in (("a", 8), ("b", 2))
    ]
    sites = [resource("Site", "a", ""), resource("Site", "b", "")]
    group = app("selector: {matchLabels: {app: x}}, preferredSite: a, protection: p")
    rest = [
        resource("ProtectionPolicy", "p", "recoveryPoint: 20s"),
        resource("Image", "tiny", "os: x, kernel: k"),
        group,
    ]
    text = "---\n".join([*sites, *hosts, *rest, vm("cpu: 4", labels="{app: x}")])
    problems = check_documents(documents_of(text), EMPTY)
    assert [(each.path, "no host of b" in each.message) for each in problems] == [("spec", True)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["spec", "metadata", "selector", "tiers", "addresses", "disks", "labels", "name", "prefixes"])


@given(
    kind=st.sampled_from(["Site", "Host", "Image", "VirtualMachine", "Application", "ProtectionPolicy", "Volume"]),
    metadata=JSON | st.fixed_dictionaries({"name": JSON | st.just("a"), "labels": JSON}),
    spec=JSON | st.dictionaries(FIELDS, JSON, max_size=4),
)
def test_nothing_makes_admission_fail_in_an_unforeseen_way(kind: str, metadata: object, spec: object) -> None:
    found = {"apiVersion": "gemel/v1", "kind": kind, "metadata": metadata, "spec": spec}
    admitted = admit((Document("f", 0, 1, found),), EXISTING)
    assert all(isinstance(each, Problem) for each in admitted.problems)
    assert admitted.problems or all(isinstance(each, Sound) for each in admitted.sound)
