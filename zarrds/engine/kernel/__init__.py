"""Chunks <-> files, a batch at a time, in C: optional, and with the meaning of the Python beside it.

The caller gives it integers, and does again with `zarrds.engine.chunk_io` and `chunk_writes` what was not plainly done;
so all errors, locks and repairs are written once, there. `applies` says where the kernel is used at all.
"""
