"""Which ends a fault deafens, and what nftables is told."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.lab.faults import Cut, DeafEnd, plan_cut, plan_deafness, render_deafness
from gemel.lab.topology import plan_topology

TOPOLOGY = plan_topology()


def ends(*pairs: tuple[str, str]) -> frozenset[DeafEnd]:
    return frozenset(DeafEnd(*pair) for pair in pairs)


def test_site_is_cut_on_all_its_outer_links_in_both_directions() -> None:
    assert plan_cut(TOPOLOGY, Cut("site", "par1")) == ends(
        ("par1-rtr", "to-gra1"),
        ("gra1-rtr", "to-par1"),
        ("par1-rtr", "to-wit"),
        ("wit", "to-par1"),
        ("par1-rtr", "to-out"),
        ("out", "to-par1"),
    )


def test_link_between_sites() -> None:
    both = ends(("par1-rtr", "to-gra1"), ("gra1-rtr", "to-par1"))
    assert plan_cut(TOPOLOGY, Cut("link", "par1", "gra1")) == both
    assert plan_cut(TOPOLOGY, Cut("link", "gra1", "par1")) == both


def test_one_way_deafens_the_far_end_only() -> None:
    assert plan_cut(TOPOLOGY, Cut("link", "par1", "gra1", one_way=True)) == ends(("gra1-rtr", "to-par1"))
    assert plan_cut(TOPOLOGY, Cut("link", "gra1", "par1", one_way=True)) == ends(("par1-rtr", "to-gra1"))


def test_link_to_the_witness_and_of_a_host() -> None:
    assert plan_cut(TOPOLOGY, Cut("link", "par1", "wit")) == ends(("par1-rtr", "to-wit"), ("wit", "to-par1"))
    host = ends(("par1-2", "eth0"), ("par1-rtr", "host-2"))
    assert plan_cut(TOPOLOGY, Cut("host", "par1-2")) == host
    assert plan_cut(TOPOLOGY, Cut("link", "par1-2", "par1")) == host


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (Cut("site", "mars1"), "no site 'mars1'"),
        (Cut("link", "par1", "client"), "no direct link between par1 and client"),
        (Cut("link", "par1", "nobody"), "no node 'nobody'"),
        (Cut("cable", "par1"), "cut a site, a host or a link"),
    ],
)
def test_impossible_cuts_say_why(cut: Cut, message: str) -> None:
    with pytest.raises((KeyError, ValueError), match=message):
        plan_cut(TOPOLOGY, cut)


cuts = st.one_of(
    st.builds(Cut, st.just("site"), st.sampled_from(["par1", "gra1"])),
    st.builds(Cut, st.just("host"), st.sampled_from([host.name for host in TOPOLOGY.hosts()])),
    st.builds(
        lambda pair, one_way: Cut("link", *pair, one_way),
        st.sampled_from([("par1", "gra1"), ("par1", "wit"), ("wit", "gra1"), ("out", "par1")]),
        st.booleans(),
    ),
)


@given(cuts)
def test_a_cut_survives_the_state_file(cut: Cut) -> None:
    assert Cut.parse(str(cut)) == cut


@given(st.lists(cuts), st.lists(cuts))
def test_cuts_add_up_and_heal_apart(kept: list[Cut], healed: list[Cut]) -> None:
    together = plan_deafness(TOPOLOGY, [*kept, *healed])
    assert together == plan_deafness(TOPOLOGY, kept) | plan_deafness(TOPOLOGY, healed)
    assert plan_deafness(TOPOLOGY, []) == frozenset()


def test_ruleset_is_one_transaction() -> None:
    assert render_deafness([]) == "table netdev gemel_lab\ndelete table netdev gemel_lab\n"
    text = render_deafness(["to-out", "to-gra1"])
    assert text.startswith("table netdev gemel_lab\ndelete table netdev gemel_lab\ntable netdev gemel_lab {\n")
    assert text.index('device "to-gra1"') < text.index('device "to-out"')
    assert text.count("policy drop;") == 2


def test_nft_itself_reads_it() -> None:
    done = subprocess.run(
        ["/usr/sbin/nft", "--check", "-f", "-"],
        input=render_deafness(["lo"]),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stderr) == (0, "")
