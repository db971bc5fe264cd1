"""A network as written goes in; a program of resolved ops (shapes, defaults, normal form, identity) comes out.

network     stem, stages, head, front to back
walk        one list of steps after the other; problems are collected, so that one run reports them all
simple      the steps that hold no other steps
branching   the steps that hold others: what their branches take, and how their results are joined
chains      whether the shapes of a program fit each other
"""

from archspec.resolve.chains import verify as verify
from archspec.resolve.network import MAXIMUM_BLOCKS as MAXIMUM_BLOCKS
from archspec.resolve.network import resolve as resolve
