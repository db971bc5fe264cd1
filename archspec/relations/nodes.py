"""The named networks go in; the paper's relation graph comes out, and where other networks stand in it.

The paper's names go with named networks that have the forms; the forms, the edges and their labels are computed.
Source: arXiv 2106.04263, Figures 2 and 4; Table 1.
"""

from collections.abc import Mapping

from archspec.relations.data import Graph, Placement
from archspec.relations.form import Form
from archspec.relations.graph import graph_of, place
from archspec.relations.index import Named

# Name in the figure: the named network whose most frequent layer has this form.
EXAMPLES: Mapping[str, str] = {
    "MLP": "layer_mlp",
    "LR MLP": "layer_low_rank_mlp",
    "Conv.": "layer_convolution",
    "Sep. MLP": "layer_token_mixing",
    "Bottleneck": "resnet_50",
    "Pyramid / MS Conv.": "layer_pyramid",
    "DW-S Conv.": "layer_depthwise_convolution",
    "ViT": "layer_attention",
    "Local ViT": "layer_local_attention",
    "PVT": "pvt_small",
    "Dynamic DW-S Conv.": "layer_dynamic_depthwise_convolution",
    "Dynamic Local-S MLP": "layer_inhomogeneous_dynamic_convolution",
}
SINGLE_LAYER = "layer_"
"""How the names of networks begin that are one layer: rows of Table 1, no systems."""
SHARE = 0.1
"""A form is worth placing if so many of the spatial layers of a network have it."""


def paper_graph(named: Mapping[str, Named]) -> Graph:
    """The graph of the forms that the paper names, each with the named networks that are mostly built of it."""
    return _with_systems({name: main_form(named[example].forms) for name, example in EXAMPLES.items()}, named)


def whole_graph(named: Mapping[str, Named]) -> Graph:
    """The graph of every form that stands in a named network: the paper's by name, the others by what they are."""
    forms = {name: main_form(named[example].forms) for name, example in EXAMPLES.items()}
    known = set(forms.values())
    for each in named.values():
        for form in each.forms:
            if form not in known:
                known.add(form)
                forms[str(form)] = form
    return _with_systems(forms, named)


def main_form(forms: Mapping[Form, int]) -> Form:
    """The most frequent form; of several the one that comes first in the network."""
    return max(forms, key=lambda form: forms[form])


def place_network(name: str, forms: Mapping[Form, int], graph: Graph) -> tuple[Placement, ...]:
    """Where the forms of a network stand, the most frequent first; those of few layers are left out."""
    total = sum(forms.values())
    shares = {form: count / total for form, count in forms.items()}
    often = sorted(shares, key=lambda form: -shares[form])
    return tuple(place(name, form, graph, shares[form]) for form in often if shares[form] >= SHARE or form == often[0])


def _with_systems(forms: Mapping[str, Form], named: Mapping[str, Named]) -> Graph:
    networks = {name: main_form(each.forms) for name, each in named.items() if not name.startswith(SINGLE_LAYER)}
    systems = {node: tuple(name for name, main in networks.items() if main == form) for node, form in forms.items()}
    return graph_of(forms, systems)
