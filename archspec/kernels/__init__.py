"""Pure functions (op, parameters, x, training) -> y, one pattern of W a file; `archspec/lower.py` chooses among them.

Legend: B batch, H height, W width, C channels (primes for the outgoing ones); N = H * W positions, and the class token;
K positions that one position reads (taps of a sliding window, slots of a window); G kernels (groups of channels that
share one), M = C / G channels a kernel serves.

What goes in and out lies as (B, H, W, C), channels last; with a class token (B, 1, 1 + N, C).
Kernels import no kernel; the tensor pieces that several need are in shapes.py, windows.py, taps.py and predictor.py.
"""
