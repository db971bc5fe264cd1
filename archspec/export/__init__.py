"""A network goes in; files that need no archspec come out, checked: python, torch-export and ONNX.

tree.py         program -> constructor calls, named as the checkpoint is; connections.py, geometry.py: of connections
blocks.py       named blocks -> classes, what differs between them as arguments
layers/         the layers, as real source
specialise.py   calls -> the source of just these layers, without options that nobody asks for; cutting.py, tidy.py
source.py       all of it -> one readable file
formats.py      that file, or what torch exports of it, compared with the compiled network; decomposed.py: for ONNX
"""
