"""Every named network: exact counts, source, round trip, and the nano versions' size."""

from pathlib import Path

import pytest
import yaml

import archspec
from archspec.ir import parameter_table
from archspec.resolve import resolve
from archspec.schema.expand import expand
from archspec.schema.load import network_from, network_yaml, spec_path
from archspec.schema.source import read_text

COUNTS = [yaml.safe_load(file.read_text()) for file in sorted(Path(__file__).parent.glob("exact_counts*.yaml"))]
EXACT = {name: row for counts in COUNTS for name, row in counts.items()}
NANO = tuple(name for name in archspec.names() if name.endswith("_nano"))


def test_every_network_but_the_nano_ones_has_exact_counts_in_one_file() -> None:
    assert set(archspec.names()) - set(NANO) == set(EXACT)
    assert sum(map(len, COUNTS)) == len(EXACT)
    assert len(NANO) >= 5


@pytest.mark.parametrize("name", sorted(EXACT))
def test_counts_are_exact(name: str) -> None:
    params, macs, paper_flops = EXACT[name]
    found = archspec.cost(name)
    assert (found.params, found.macs) == (params, macs)
    assert paper_flops in (None, found.paper_flops)


@pytest.mark.parametrize("name", NANO)
def test_nano_networks_have_about_a_fifth_of_a_million_parameters(name: str) -> None:
    network = archspec.load(name)
    assert 180_000 <= archspec.cost(network).params <= 260_000
    assert network.init == "fan"
    assert network.input.height_width == (32, 32)


@pytest.mark.parametrize("name", archspec.names())
def test_a_named_network_has_a_source_and_reads_back_from_its_own_yaml(name: str) -> None:
    network = archspec.load(name)
    assert network.name == name == spec_path(name).stem
    assert network.source
    assert network.description
    again = network_from(read_text(network_yaml(network)))
    assert again == network


@pytest.mark.parametrize("name", archspec.names())
def test_writing_shorthands_out_changes_nothing(name: str) -> None:
    network = archspec.load(name)
    expanded = network_from(read_text(network_yaml(expand(network))))
    assert resolve(expanded) == resolve(network)
    assert archspec.digest(expanded) == archspec.digest(network)


@pytest.mark.parametrize("name", archspec.names())
def test_the_built_module_has_the_parameters_that_were_counted(name: str) -> None:
    module = archspec.compile(name, device="meta")
    assert sum(parameter.numel() for parameter in module.parameters()) == archspec.cost(name).params
    table = parameter_table(resolve(archspec.load(name)))
    assert {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()} == {
        key: row.shape for key, row in table.items()
    }


def test_digests_of_different_networks_differ() -> None:
    assert len({archspec.digest(name) for name in archspec.names()}) == len(archspec.names())
