"""The first lines of a small search space, for tests that write one; the fixture `space_of` (conftest.py) reads it."""

HEAD = """
space: 1
name: small
base: dw_conv_nano
"""
