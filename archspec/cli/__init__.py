"""Words of the command line go in; one function runs; its result is printed. Exit code 0 only on success."""

import sys
from importlib.metadata import PackageNotFoundError, distribution

CLASH = """archspec: two distributions in this environment own the name `archspec`.

    archspec-nas {ours}   this program: connectivity patterns of vision networks
    archspec {theirs}       CPU detection, used by Spack and conda

They overwrite each other's files. Install archspec-nas in an environment of its own:

    python3 -m venv .venv && .venv/bin/pip install archspec-nas
"""


def clash() -> str | None:
    """What to say when the other `archspec` is installed too; None when it is not."""
    try:
        theirs = distribution("archspec").version
    except PackageNotFoundError:
        return None
    try:
        ours = distribution("archspec-nas").version
    except PackageNotFoundError:
        ours = "(not installed)"
    return CLASH.format(ours=ours, theirs=theirs)


def main() -> None:
    """Run a command. Errors that archspec raises on purpose are printed without a traceback."""
    problem = clash()
    if problem is not None:
        sys.exit(problem)
    from archspec.cli.app import app
    from archspec.errors import ArchspecError

    try:
        app()
    except ArchspecError as error:
        print(f"archspec: {error}" if "\n" not in str(error) else str(error), file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"archspec: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
