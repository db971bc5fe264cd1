"""An op, its parameters and features go in; its dense connection matrix and its result come out: the oracle.

A connection layer y = W x is three functions, one file each, and nothing else defines what it means:

    connectivity.support   which entries of W exist       bool per position pair and channel pair
    sharing.tie            which entries are one value    an index per entry
    weights.values         the value of each index        parameters, or a function of x

`network` puts them together, and adds the ops around connections. No kernel is imported here: what kernels
are checked against is written once, generically, and apart from them. It takes the longest way on purpose.
"""

from archspec.reference.connection import dense
from archspec.reference.connectivity import channel_support, support, support_count
from archspec.reference.network import apply, layout, run
from archspec.reference.sharing import channel_tie, tie, tie_count
from archspec.reference.weights import values

__all__ = [
    "apply",
    "channel_support",
    "channel_tie",
    "dense",
    "layout",
    "run",
    "support",
    "support_count",
    "tie",
    "tie_count",
    "values",
]
