"""A network's weights go in; those of a wider network of the same ops come out, which starts as the same function.

copying (one axis) -> connections (one layer) -> origins (a network) -> weights (its tensors)
"""

from archspec.widening.origins import copies as copies
