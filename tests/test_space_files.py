"""Search-space files: bases, names, and every mistake reported at its place."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from small_space import HEAD

from archspec.errors import SpecError
from archspec.search.space import feasible_share, load_space, network

SPACES = Path(__file__).parents[1] / "search_spaces"


def problems_of(make: Any) -> list[tuple[int, str, str]]:
    """(line, found, path) of each problem."""
    with pytest.raises(SpecError) as caught:
        make()
    return [(p.location.line if p.location else 0, p.found, p.path) for p in caught.value.problems]


def test_a_base_space_is_merged_and_its_constraints_inherited(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(
        HEAD.replace("small", "parent")
        + "network:\n  classes: 7\n  head: {norm: layer, bias: false}\n"
        + "  stages: [{width: {choose: [16, 32]}, depth: 1, block: dw}]\nconstraints: [params <= 1M]\n"
    )
    child = "space: 1\nname: child\nbase: parent\nnetwork:\n  head: {bias: {choose: [true, false]}}\n"
    (tmp_path / "child.yaml").write_text(child)
    space = load_space(tmp_path / "child.yaml")
    assert [gene.name for gene in space.genes] == ["head.bias", "stages.0.width"]
    assert [str(constraint) for constraint in space.constraints] == ["params <= 1M"]
    made = network(space, {"head.bias": True})
    assert (made.classes, made.head.bias, made.head.norm) == (7, True, "layer")
    (tmp_path / "child.yaml").write_text(child + "constraints: []\n")
    assert load_space("child", beside=tmp_path).constraints == ()


def test_bases_that_go_in_a_circle_are_refused_and_named(tmp_path: Path) -> None:
    for name, base in (("a", "b"), ("b", "c.yaml"), ("c", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"space: 1\nname: {name}\nbase: {base}\n")
    with pytest.raises(SpecError, match=r"a\.yaml -> b\.yaml -> c\.yaml -> a\.yaml") as caught:
        load_space(tmp_path / "a.yaml")
    assert any(problem.location and problem.location.line == 3 for problem in caught.value.problems)


def test_every_mistake_of_a_file_is_reported_at_its_line(space_of: Any) -> None:
    text = """space: 1
name: bad
descripton: typo
base: swin_nano
network:
  clases: 10
  stages:
    - {width: {choose: [24, 32], nam: w}, depth: {range: [1, 2]}, block: {choose: [dw, swn, [plain, shifted]]}}
    - {width: {chose: [24, 32]}, depth: {range: [3, 2]}, block: dw}
    - {width: {choose: [24, 32], per: block}, depth: {choose: [2]}, block: dw}
  blocks:
    dw:
      - residual:
          - linear: {bias: false}
          - connect:
              connectivity: {space: {sliding: {choose: [3, 5, {sze: 7}], per: stge}}, channels: separate}
              sharing: {positions: offsets}
              weights: {choose: [static, {pooled: {reductin: {choose: [4, 8]}}}]}
    unused:
      - residual: [{norm: {choose: [batch, layr]}}]
constraints:
  - parms <= 0.3M
  - macs in [5M, 12Q]
"""
    found = problems_of(lambda: space_of(text))
    lines = Counter(line for line, _, _ in found)
    assert set(lines) == {3, 6, 8, 9, 10, 16, 18, 20, 22, 23}
    assert {word for _, word, _ in found} >= {"descripton", "clases", "nam", "swn", "chose", "sze", "stge", "reductin"}
    assert (18, "reductin", "network.blocks.dw.0.residual.1.connect.weights.pooled.reductin") in found


@pytest.mark.parametrize(
    ("hole", "found"),
    [
        ("{choose: []}", "0 options"),
        ("{choose: 32}", "32"),
        ("{choose: [16, 16]}", "16"),
        ("{range: [1]}", "[1]"),
        ("{range: [1, 10], step: 2}", "1 to 10 in steps of 2"),
        ("{range: [1, 8], log: yes}", "yes"),
        ("{range: [1, 8], log: true, step: 1}", "step and log"),
        ("{range: [1, 5000]}", "5,000"),
        ("{choose: [16, 32], when: {stages.0.depht: 1}, else: 16}", "stages.0.depht"),
        ("{choose: [16, 32], when: {depth: 9}, else: 16}", "9"),
        ("{choose: [16, 32], when: {depth: 1}}", "no else"),
        ("{choose: [16, 32], else: 16}", "no when"),
        ("{choose: [16, 32], when: {depth: 1}, else: {choose: [1, 2]}}", "{choose: [1, 2]}"),
        ("{choose: [16, 32], when: {width: 16}, else: 16}", "stages.0.width -> stages.0.width"),
        ("{choose: [16, 32, 64], follow: depth}", "3"),
        ("{choose: [16, 32], name: 'a b'}", "a b"),
        ("{choose: [16, 32], follow: depth, name: w}", "w"),
        ("{choose: [16, sixteen]}", "sixteen"),
        ("{choose: [0, 16]}", "0"),
        ("{range: [0, 16]}", "0"),
        ("{choose: [16, 32], when: {depth: 1}, else: sixteen}", "sixteen"),
        ("{choose: [16, {choose: [32, thirty]}]}", "thirty"),
    ],
)
def test_a_hole_that_is_wrong_is_refused_where_it_stands(space_of: Any, hole: str, found: str) -> None:
    text = HEAD + f"network:\n  stages:\n    - {{width: {hole}, depth: {{range: [1, 2]}}, block: dw}}\n"
    problems = problems_of(lambda: space_of(text))
    assert {line for line, _, _ in problems} == {7}
    assert found in {word for _, word, _ in problems}


@pytest.mark.parametrize("where", ["network: {choose: [{}, {}]}", "network: {blocks: {choose: [{}, {}]}}"])
def test_holes_stand_inside_the_network_and_its_blocks(space_of: Any, where: str) -> None:
    assert ("choose" in {word for _, word, _ in problems_of(lambda: space_of(f"{HEAD}{where}\n"))}) is True


def test_a_shared_hole_is_checked_wherever_it_stands(space_of: Any) -> None:
    text = HEAD + (
        "network:\n  drop_path: {choose: [0, 1], name: shared}\n"
        "  stages: [{width: 32, depth: {choose: [1, 2]}, block: dw}]\n"
        "  head: {norm: layer, bias: {choose: [0, 1], name: shared}}\n"
    )
    assert {line for line, _, _ in problems_of(lambda: space_of(text))} == {6, 8}


def test_holes_of_one_name_agree(space_of: Any) -> None:
    text = HEAD + (
        "network:\n  stages:\n"
        "    - {width: {choose: [16, 32], name: w}, depth: 1, block: dw}\n"
        "    - {width: {choose: [16, 64], name: w}, depth: 1, block: dw}\n"
    )
    assert [line for line, _, _ in problems_of(lambda: space_of(text))] == [8]
    space = space_of(text.replace("64", "32"))
    assert [(gene.name, gene.choices) for gene in space.genes] == [("w", (16, 32))]
    assert [stage.width for stage in network(space, {"w": 32}).stages] == [32, 32]


def test_options_that_are_legal_only_together_are_no_mistake(space_of: Any) -> None:
    space = space_of(
        HEAD
        + """
network:
  stages: [{width: 32, depth: 1, block: dw}]
  blocks:
    dw:
      - residual:
          - connect:
              connectivity: {space: {sliding: 3}, channels: separate}
              sharing: {positions: {choose: [offsets, none]}}
              weights: {choose: [static, local]}
"""
    )
    seen = feasible_share(space)
    assert (seen.points, seen.feasible) == (4, 3)
    assert "predicted at each position" in seen.illegal[0].text


def test_a_space_is_found_by_name_in_the_folder_of_spaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(SPACES.parent)
    assert load_space("connectivity_nano").name == "connectivity_nano"
    with pytest.raises(SpecError, match="nearest: connectivity_nano"):
        load_space("conectivity_nano")
    monkeypatch.chdir(tmp_path)
    assert load_space("connectivity_nano", beside=SPACES.parent / "studies").name == "connectivity_nano"


def test_the_digest_of_a_space_is_of_what_it_says(tmp_path: Path) -> None:
    text = (SPACES / "connectivity_nano.yaml").read_text()
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text("\n".join(line for line in text.splitlines() if not line.startswith("#")))
    (tmp_path / "c.yaml").write_text(text.replace("0.4M\n", "0.5M\n"))
    a, b, c = (load_space(tmp_path / f"{name}.yaml").digest for name in "abc")
    assert a == b != c
