"""Specs go in, pictures come out: each figure is `x_data(...) -> XData`, then `draw_x(XData) -> Figure`.

    matrix      which entries of W exist, which are one value, what they are
    footprint   the same on the map: what each position reads
    fields      how the receptive field grows
    comparison  two networks side by side, their differences marked
    graph       the relation graph, with networks placed in it

    connections, values, reach, blocks: what the data is made from; page, pictures: one HTML file, and PNG

Only the `draw_` functions import plotly, when they are called.
"""
