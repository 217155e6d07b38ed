"""What this process holds of the machine's memory: freed volumes go back to the system at once."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_BLOCK_BYTES = 1 << 20


def return_freed_volumes() -> bool:
    """Have the C library give back every freed block of a megabyte or more; return whether it can.

    The GNU C library raises its limits with the blocks that it sees, keeps freed volumes, and lays new ones between
    them: the most memory held in a chain is then a third to a half more than what is in use at any time.

    Source: mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(option, _BLOCK_BYTES) == 1 for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD))
