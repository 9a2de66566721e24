"""Changes that only add, put straight to their keys: the put of the root's document is the commit.

The steps are those of docs/spec.md, "The commit in object storage".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import Literal

from zarrds.arguments import warn
from zarrds.errors import ConflictError, ZarrdsError
from zarrds.storage.commits.direct_marker import DirectMarker, signed
from zarrds.storage.found import Found, Version, is_same_version
from zarrds.storage.fsspec.commits import OLD
from zarrds.storage.obstore.changes.commits import conflict, not_known
from zarrds.storage.obstore.changes.open_commit import OpenCommit
from zarrds.storage.obstore.changes.retries import put_over
from zarrds.storage.protocol import ValueChangedError
from zarrds.threads import answers_of, side_by_side

__all__ = ["QUICK_NBYTES", "DirectCommit"]

QUICK_NBYTES = 2**20  # what is put within the time after which others wait for a heartbeat


class DirectCommit:
    """One commit, from its marker on.

    Parameters
    ----------
    commit : OpenCommit
        Whose marker may be there, put before the plan was made: it says only now what the changes are.
    marker : DirectMarker
    before : Found
        The root's document that the changes were made from.
    check : callable, optional
        See `Additions.check`.

    Attributes
    ----------
    has_begun : bool
        Whether the plan was seen to hold still, after the marker was put; before that, nothing else is.
    """

    def __init__(
        self,
        commit: OpenCommit,
        marker: DirectMarker,
        before: Found,
        check: Callable[[Collection[str]], None] | None = None,
    ) -> None:
        self._open = commit
        self._objects, self._commits, self._base, self._path = commit.objects, commit.commits, commit.base, commit.path
        self._marker = marker
        self._check = check
        self.has_begun = False
        commit.goes_by(marker.root, before)

    def make(
        self,
        root: bytes,
        values: Mapping[str, bytes],
        edges: Mapping[str, Version | None],
        documents: Mapping[str, Version | None],
        gone: Sequence[str] = (),
    ) -> None:
        """Make the changes.

        Parameters
        ----------
        root : bytes
            The root's document, as it is to be.
        values : mapping of str to bytes
            All that is no document, by key.
        edges : mapping
            Of those values that replace others: the version that each was made from.
        documents : mapping
            The versions of the documents that are replaced, None for those that are new.
        gone : sequence of str
            Keys to be removed at the end; see `DirectMarker.replaces`.
        """
        commit, is_asked = self._open, False
        is_claimed = commit.is_put
        self._begin(values, edges, gone)
        self.has_begun = True
        try:
            if not is_claimed:
                commit.claim()
            self._put_values(values, edges)
            is_asked = True
            commit.put_root(signed(root, self._marker.write))
        except ZarrdsError as error:
            found = self._was_made(error) if is_asked else None
            if found is None:
                commit.call_off()
                raise
            if found == "by another":
                return
        finally:
            commit.end()
        try:
            with commit.heartbeat.beating() if gone else nullcontext():
                is_ours = self._commits.put_documents(self._marker, dict(documents), commit.is_sure)
                is_ours = is_ours and self._commits.remove_replaced(self._marker, gone, commit.is_sure)
        except ZarrdsError as error:
            what = "put, or what was there removed" if self._marker.replaces else "put"
            with suppress(UserWarning):  # where warnings are errors: one would say that the change has failed
                warn(
                    f"{self._path}: the change is committed, but the arrays' own documents could not all be {what} "
                    f"({error.problem}): the next writer puts them. Do not make the change again"
                )
            return  # and the marker stays, which has them
        if is_ours:
            commit.release()
        else:
            commit.call_off()

    def _was_made(self, error: ZarrdsError) -> Literal["by itself", "by another"] | None:
        """Whether the commit was made, though its put got an error, and who puts the documents in place."""
        commits, marker = self._commits, self._marker
        try:
            # an answer may be lost, where it was no refusal; where another has changed the root since, it has finished
            # this commit before
            is_refused = isinstance(error, ConflictError) or isinstance(error.__cause__, ValueChangedError)
            if not is_refused and commits.is_made(marker):
                return "by itself"
            return "by another" if commits.was_finished(marker) else None
        except ZarrdsError as unseen:
            raise not_known(error) from unseen.__cause__

    def _begin(self, values: Collection[str], edges: Collection[str], gone: Sequence[str]) -> None:
        """Put the marker, and look at the same time whether the plan still holds.

        Where the marker is there, it only says more now, if there is more to say, and the root is claimed at that time
        as well, if anything is put before the commit: no other can have begun since the root was read, and ended, but
        one that has taken this writer for dead, which one of both tells, and the commit.
        """
        commit, is_there = self._open, self._open.is_put
        calls: list[Callable[[], None]] = [] if is_there else [commit.put_marker]
        if is_there and commit.marker != self._marker:
            calls.append(partial(commit.rename, self._marker))
        if is_there and values:
            calls.append(commit.claim)
        if self._check is not None:
            calls.append(partial(self._check, edges))
        if self._marker.replaces:
            name = f"{self._base}{self._marker.folder}/{OLD}"
            commit.hidden.append(name)
            calls.append(partial(self._objects.write, name, json.dumps(gone).encode()))
        try:
            answers_of(calls)
        except BaseException:
            if is_there:
                commit.call_off()
            else:
                commit.release()
            raise

    def _put_values(self, values: Mapping[str, bytes], edges: Mapping[str, Version | None]) -> None:
        commit = self._open

        def goes_on(number: int) -> bool:
            # what is repeated may be long ago: where servers take digests for ETags, its condition tells nothing
            if number or commit.is_late:
                commit.check_claim()
            return True

        def put(key: str) -> None:
            def may_replace(found: Version | None) -> bool:
                """A value of an edge is put over what it was made from, others over what nobody can see."""
                if key in edges and not is_same_version(found, edges[key]):
                    raise conflict(self._path)
                # what stands there was put before the root was claimed, so that no reader knows of it, or it is put by
                # who was overtaken: had another begun since, the root would not be ours any more
                commit.check_claim()
                return True

            put_over(self._objects, self._base, key, values[key], edges.get(key), goes_on, may_replace)

        with commit.heartbeat.beating() if sum(map(len, values.values())) > QUICK_NBYTES else nullcontext():
            side_by_side(put, list(values))
