import pytest
from pydantic import ValidationError

from gemel.compute.kinds import HostSpec, VirtualMachineSpec
from gemel.core.resource import Metadata, Resource, Selector

HOST = {
    "apiVersion": "gemel/v1",
    "kind": "Host",
    "metadata": {"name": "par1-1", "labels": {"rack": "a"}},
    "spec": {"site": "par1", "cpu": 4, "memory": "8Gi", "address": "198.18.1.11"},
}


def test_a_resource_reads_and_writes_the_same_words() -> None:
    host = Resource[HostSpec].model_validate(HOST)
    assert host.spec.memory == 8 * 2**30
    assert Resource[HostSpec].model_validate_json(host.to_json()) == host
    assert b'"apiVersion":"gemel/v1"' in host.to_json()
    assert b"resourceVersion" not in host.to_json()


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a_b", "é", "a" * 64, "a\n", " a", "a/b", "..", "a b"])
def test_a_name_is_a_dns_label(name: str) -> None:
    with pytest.raises(ValidationError):
        Metadata(name=name)


@pytest.mark.parametrize("name", ["a", "0", "par1-1", "a" * 63])
def test_a_dns_label_is_a_name(name: str) -> None:
    assert Metadata(name=name).name == name


def test_no_unknown_field_passes() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Resource[HostSpec].model_validate({**HOST, "spec": {**HOST["spec"], "cpus": 4}})  # type: ignore[dict-item]


def test_models_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Metadata(name="a").name = "b"


def test_a_selector_needs_all_labels() -> None:
    selector = Selector(match_labels={"app": "bank", "tier": "db"})
    assert selector.matches({"app": "bank", "tier": "db", "more": "x"})
    assert not selector.matches({"app": "bank"})
    with pytest.raises(ValidationError):
        Selector(match_labels={})


def test_a_lone_guest_has_defaults() -> None:
    spec = VirtualMachineSpec.model_validate({"memory": "64Mi", "boot": {"image": "tiny"}})
    assert spec.running
    assert spec.disks == ()
