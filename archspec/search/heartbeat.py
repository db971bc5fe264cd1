"""Leases go in and stay ours: a thread of the worker renews them, and says which were lost.

It renews from the worker and not from the process that trains: a training that hangs is the timeout's business, and a
worker that is stopped (SIGSTOP, a laptop that sleeps) shall lose its lease.
"""

import threading
from types import TracebackType
from typing import Self

from archspec.errors import StoreError
from archspec.results.leases import Lease, Leases, Turn
from archspec.results.store import Store

RENEWALS_IN_A_LEASE = 10


class Heartbeat:
    """Renews the leases it holds until they are dropped or lost."""

    def __init__(self, leases: Leases) -> None:
        # A store of its own: the thread must not wait where the worker waits for a database that is away.
        store = Store(leases.store.url)
        self._leases = Leases(store, leases.owner, leases.place, leases.seconds)
        self._held: set[Lease | Turn] = set()
        self._lost: set[Lease | Turn] = set()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="archspec-leases")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        self._leases.store.close()

    def hold(self, lease: Lease | Turn) -> None:
        """Renew this from now on."""
        with self._lock:
            self._held.add(lease)

    def drop(self, lease: Lease | Turn) -> None:
        """No longer."""
        with self._lock:
            self._held.discard(lease)
            self._lost.discard(lease)

    def has_lost(self, lease: Lease | Turn) -> bool:
        """Whether another worker has it."""
        with self._lock:
            return lease in self._lost

    def _renew(self) -> None:
        while not self._end.wait(self._leases.seconds / RENEWALS_IN_A_LEASE):
            with self._lock:
                held = tuple(self._held)
            try:
                lost = self._leases.renew(*held)
            except StoreError:
                continue  # the database is away: the next time, and if that is too late, the lease is lost
            with self._lock:
                # What was dropped meanwhile ended in another way.
                gone = set(lost) & self._held
                self._held -= gone
                self._lost |= gone
