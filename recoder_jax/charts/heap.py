"""The memory of a fork server, made cheap to share with the processes it forks.

A forked process copies every page that it writes to. Its own objects would land in the holes that the imports left,
one here and one there, and copy a page of the server's for each few of them. With the holes filled they land on fresh
pages, side by side. In huge pages the memory of the server has a 512th of the page table entries that a fork copies
and the end of a process takes down. Works for the allocators of CPython 3.11 and 3.12 and of glibc, and on Linux 6.1 or
newer; elsewhere the part that is missing does nothing.
"""

import ctypes
import gc
import mmap
import platform
import sys

_POOL = 1 << 14                  # bytes of one size that CPython's allocator hands out from
_POOL_HEADER = 48
_LARGEST_SMALL = 512
_STEP = 16
_MAX_FILLED = 64 << 20           # bytes, of each allocator
_TOP_BLOCK = 100_000
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT = 32 << 20                 # freed memory that stays in a process instead of being faulted in again
_HUGE = 1 << 21
_MADV_COLLAPSE = 25


def settle() -> None:
    """Collects, fills the holes, and takes what is alive out of the collector's sight. Call before the first fork."""
    gc.collect()
    c = ctypes.CDLL(None)
    if sys.implementation.name == 'cpython' and sys.version_info < (3, 13):
        _fill_python_pools(c)
    if platform.libc_ver()[0] == 'glibc':
        _fill_c_heap(c)
        c.mallopt(_M_MMAP_THRESHOLD, _KEPT)
        c.mallopt(_M_TRIM_THRESHOLD, _KEPT)
    _gather_in_huge_pages(c)
    gc.freeze()


def _fill_python_pools(c: ctypes.CDLL) -> None:
    """Allocates, for good, what is free in used pools; each size until it gets a pool of untouched pages."""
    allocate = ctypes.pythonapi.PyObject_Malloc
    allocate.restype, allocate.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    filled = 0
    for size in range(_LARGEST_SMALL, 0, -_STEP):
        while filled < _MAX_FILLED:
            block = allocate(size)
            filled += size
            if block % _POOL == _POOL_HEADER and not _is_resident(c, block + mmap.PAGESIZE):
                break


def _fill_c_heap(c: ctypes.CDLL) -> None:
    """Allocates, for good, the free blocks below the top of the heap."""
    c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
    filled, top = 0, None
    while filled < _MAX_FILLED and top is None:
        block = c.malloc(_TOP_BLOCK)
        filled += _TOP_BLOCK
        if not _is_resident(c, block + _TOP_BLOCK // 2):
            top = block
    borrowed = [top]
    for size in [*(1 << bits for bits in range(16, 10, -1)), *range(1024 - _STEP, 0, -_STEP)]:
        while top is not None and filled < _MAX_FILLED:
            block = c.malloc(size - 8)           # 8 bytes of each block are glibc's
            if block >= top:
                borrowed.append(block)
                break
            filled += size
    for block in reversed(borrowed):
        c.free(block)


def _gather_in_huge_pages(c: ctypes.CDLL) -> None:
    """Moves the memory of the objects that are alive into huge pages; what the kernel refuses stays where it is."""
    for window in sorted({id(thing) // _HUGE for thing in gc.get_objects()}):
        c.madvise(ctypes.c_void_p(window * _HUGE), ctypes.c_size_t(_HUGE), _MADV_COLLAPSE)


def _is_resident(c: ctypes.CDLL, address: int) -> bool:
    """Whether the page of an address is in memory; True where the kernel does not say."""
    answer = ctypes.c_ubyte(1)
    page = address - address % mmap.PAGESIZE
    if c.mincore(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), ctypes.byref(answer)):
        return True
    return bool(answer.value & 1)
