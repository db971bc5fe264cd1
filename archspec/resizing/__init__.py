"""A network and its weights at one input size go in; the same network at another size comes out (Table 5).

networks    the spec: another input size, larger windows and kernels
weights     the state dict: whatever is laid out over positions or offsets, interpolated
"""
