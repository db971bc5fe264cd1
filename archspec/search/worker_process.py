"""One worker of a study in a process of its own: the study is read from standard input, an error goes to the output.

python -m archspec.search.worker_process        (only the supervisor calls it)
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import IO

from archspec.errors import ArchspecError
from archspec.results.records import EvaluationRecord
from archspec.schema.network import Network
from archspec.search.machine import name_process
from archspec.search.processes import Descriptors, ForkServer, ServerGone
from archspec.search.runner import prepared_again, work
from archspec.search.study import study_from
from archspec.search.worker import Stop

NEEDS_A_SERVER = os.EX_TEMPFAIL
"""The exit code of a worker whose fork server was killed: another worker gets another clone, in milliseconds."""


class _Unwatched:
    """Nobody looks on: the supervisor looks at the tables."""

    def evaluation_started(self, name: str, epochs: int, network: Network) -> None: ...

    def epoch_ended(self, name: str, epoch: int, accuracy: float | None) -> None: ...

    def evaluation_ended(self, record: EvaluationRecord) -> None: ...


def main() -> None:
    """Work on the study until it is done, or until the supervisor is gone."""
    name_process("archspec-worker")
    order = json.loads(sys.stdin.readline())
    stop = Stop()
    threading.Thread(target=_stop_at_the_end_of, args=(sys.stdin, stop), daemon=True).start()
    clone = Descriptors(**order["server"]) if order["server"] else None
    study = study_from(order["study"], Path(order["path"]) if order["path"] else None)
    try:
        with stop.on_signals(), ForkServer(study.evaluate is not None, clone, clone is not None) as server:
            work(prepared_again(study, order["environment"]), server, _Unwatched(), stop, order["owner"])
    except ArchspecError as error:
        print(json.dumps({"class": type(error).__name__, "message": str(error)}), flush=True)
    except ServerGone:
        os._exit(NEEDS_A_SERVER)
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    os._exit(0)  # the thread still reads


def _stop_at_the_end_of(pipe: IO[str], stop: Stop) -> None:
    pipe.read()
    stop.signal = stop.signal or signal.SIGTERM


if __name__ == "__main__":
    main()
