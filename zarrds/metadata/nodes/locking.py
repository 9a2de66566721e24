"""The lock around every change of a store's documents."""

from __future__ import annotations

from contextlib import AbstractContextManager

from zarrds.storage.commits.committer import committer_of
from zarrds.storage.protocol import Store

__all__ = ["locked"]


def locked(store: Store, *, begins: bool = False, like: str = "") -> AbstractContextManager[object]:
    """Around every change of documents: no other writer changes any meanwhile, and none was left half done.

    The lock is taken by the call, and what it gives is the store's own: a `contextmanager` around it could be left with
    the lock still held, if a KeyboardInterrupt arrives at its end.

    Parameters
    ----------
    store : Store
    begins : bool
        Whether the change is made as soon as it is planned; see `DirectCommitStore.begin`.
    like : str
        See there.
    """
    held = None
    try:
        held = store.lock()
        if not (begins and _begin(store, like)):
            committer_of(store).recover()
        return held
    except BaseException as error:
        if held is not None:
            held.__exit__(type(error), error, error.__traceback__)
        raise


def _begin(store: Store, like: str) -> bool:
    from zarrds.storage.commits.direct_stores import begin  # imported late: readers do not need it

    return begin(store, like)
