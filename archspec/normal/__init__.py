"""A connection layer as written goes in; the same layer in normal form, with shapes resolved, comes out.

Two spellings of one meaning must resolve to one op, because identity (the digest) is read off the op:

    a window that covers the map is full; a kernel of one tap is point; a map of one position is point
    a halo of nothing is a window; a cross on a line is full; a pooled map that changes nothing is full
    a grid whose windows take neighbouring positions is a window; tables for the largest map are those of this map
    one group of channels is full, C groups are separate; one group of sharing is all, C groups are none
    one window has nothing to share with: its `windows` is none; one position: its `none` is offsets
    what has no effect (dilation of one tap, a shift of a window as large as the map) is dropped
"""

from archspec.normal.layer import connect
from archspec.normal.place import Illegal, Place, group_count, pair, whole, width_of

__all__ = ["Illegal", "Place", "connect", "group_count", "pair", "whole", "width_of"]
