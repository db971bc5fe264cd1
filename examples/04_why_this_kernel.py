"""A network in, its plan out: which kernel serves each layer, and why the faster ones refused."""

from archspec import load
from archspec.lower import plan
from archspec.resolve import resolve

print(plan(resolve(load("d_dw_conv_nano"))))
