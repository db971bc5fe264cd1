"""The layers of a stand-alone file, as the source that is copied into it.

Every file here is plain PyTorch without any other part of archspec. `archspec.export.specialise` copies the classes
and functions that a network needs, and cuts out the options that it does not: an option is a keyword that `if`
statements ask for, one a line, so that lines can be taken out. Lines keep to 88 columns, so that ruff's default
formatting and ours agree.

Legend: B batch; H, W height and width; N positions; C channels; L windows; K positions of a window, R positions that
it reads; G groups of channels with weights of their own (heads), D or M channels in each.
"""
