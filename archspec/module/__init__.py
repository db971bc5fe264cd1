"""A program and its plan go in; the torch module that owns the parameters and runs the kernels comes out.

The modules here are the only ones of compiled networks. They nest as the paths of the ops do, so the names of a
checkpoint are exactly those of `ir.parameter_table`, whatever kernels the plan chose.

network     images to logits, and the same modules at another size
layers      one op, and what holds several of them
drawing     a tensor and how it begins
"""

from archspec.module.drawing import fill as fill
from archspec.module.layers import LARGE as LARGE
from archspec.module.layers import LEAST_ROWS as LEAST_ROWS
from archspec.module.layers import STEPS as STEPS
from archspec.module.layers import Branched as Branched
from archspec.module.layers import Factors as Factors
from archspec.module.layers import Layer as Layer
from archspec.module.layers import Residual as Residual
from archspec.module.layers import load_kernel as load_kernel
from archspec.module.network import REMEMBERED as REMEMBERED
from archspec.module.network import Network as Network
