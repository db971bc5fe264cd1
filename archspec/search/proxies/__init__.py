"""WHAT A NETWORK IS WORTH WITHOUT TRAINING IT TO THE END: a program, some images, a curve go in; cheap scores come out.

    validity   for which networks a score means anything: program -> valid, doubtful or refused, and why
    canonical  a module whose start does not depend on how its spec says it starts
    gradients, activations, zen    the scores
    curves     what the first epochs of a training say
    table      every proxy by name: formula, source, validity, function

No proxy is an objective: `archspec audit` says which of them can be trusted on a study, and beside which baseline.
"""
