"""Networks and layers go in; how they relate comes out: what a network is in words, differences, the relation graph.

form         the axes of a layer without sizes, and their order
reading      program -> forms of its layers
graph        named forms -> Graph; place; nodes: the paper's names and the named networks
signature    program -> patterns of its blocks; align, difference: two of them -> Difference; nearest: among the named
index        the named networks, read from named.json (python -m archspec.relations.index makes it)
table1       form -> row of the paper's Table 1; words, explanation: all of it for people
"""
