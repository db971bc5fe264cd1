"""The command in a process of its own: a clone of a warm fork server and the words of the command line go in.

Only torch is not imported once more, and no report is drawn; all else is `archspec` as it is typed.

    python tests/terminal.py CHANNEL LOG search STUDY ...
"""

import functools
import sys
from pathlib import Path

from archspec.cli import findings, main
from archspec.search import runner
from archspec.search.processes import Descriptors, ForkServer

if __name__ == "__main__":
    channel, log, *words = sys.argv[1:]
    server = ForkServer(clone=Descriptors(int(channel), int(log)))
    runner.search = functools.partial(runner.search, server=server)
    findings.render = lambda study: Path()
    sys.argv[1:] = words
    main()
