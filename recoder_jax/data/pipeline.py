"""Batches of a source in one global order that depends on the seed only.

    batch s = places s*B ... (s+1)*B - 1 of the order (shuffled anew every epoch, epochs joined without a gap)
    process p of n takes the places p, p+n, p+2n, ... of every batch

So the state of a pipeline is one integer, the number of the next batch or of the next place, and it holds for any number of processes.
B is the batch size over all processes.
"""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import grain

T = TypeVar('T')


class Pipeline(Generic[T]):
    """Batches of `source` (a sequence with random access), for one of `process_count` processes.

    epochs: passes over the source; None repeats without end. A last batch that would be short is left out. Raises ValueError for an
    empty source, a batch that the processes cannot share evenly, or fewer items in all than one batch.
    """

    def __init__(
        self, source: Sequence[T], batch_size: int, seed: int, process_index: int = 0, process_count: int = 1, epochs: int | None = None
    ):
        _check(len(source), batch_size, process_index, process_count, epochs)
        order = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat(epochs)
        self.steps = None if epochs is None else epochs * len(source) // batch_size
        if self.steps is not None:
            order = order.slice(slice(0, self.steps * batch_size))
        self._places, self._process, self._processes = order, process_index, process_count
        self._order = order.slice(slice(process_index, None, process_count))
        self._source = source
        self._share = batch_size // process_count
        self.steps_per_epoch = max(1, len(source) // batch_size)

    def batch(self, step: int) -> list[T]:
        """This process's part of batch number `step` (from 0). Raises IndexError after the last batch."""
        self._check_step(step)
        return [self._source[self._order[place]] for place in range(step * self._share, (step + 1) * self._share)]

    def span(self, start: int, count: int) -> list[T]:
        """This process's part of the places start ... start + count - 1: start + p, start + p + n, ... for process p of n. batch(s) is
        span(s * B, B). Raises IndexError beyond the last batch."""
        if start < 0 or (self.steps is not None and start + count > len(self._places)):
            raise IndexError(f'places {start} to {start + count - 1} were asked for, but they run from 0 to {"infinity" if self.steps is None else len(self._places) - 1}')
        return [self._source[self._places[place]] for place in range(start + self._process, start + count, self._processes)]

    def iterate(self, start: int = 0, threads: int = 2, prefetch: int = 16) -> Iterator[list[T]]:
        """batch(start), batch(start + 1), ...; `threads` read up to `prefetch` items ahead."""
        if self.steps is None or start < self.steps:
            self._check_step(start)
            items = self._order.map(self._source.__getitem__).to_iter_dataset(
                grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
            )
            iterator = iter(items)
            iterator.set_state({'next_index': start * self._share})
            yield from _grouped(iterator, self._share)

    def __iter__(self) -> Iterator[list[T]]:
        return self.iterate()

    def _check_step(self, step: int) -> None:
        if step < 0 or (self.steps is not None and step >= self.steps):
            raise IndexError(f'batch {step} was asked for, but batches run from 0 to {"infinity" if self.steps is None else self.steps - 1}')


def _grouped(items: Iterator[T], size: int) -> Iterator[list[T]]:
    group = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []


def _check(length: int, batch_size: int, process_index: int, process_count: int, epochs: int | None) -> None:
    if length < 1:
        raise ValueError('the source is empty; give one with at least one item')
    if process_count < 1 or not 0 <= process_index < process_count:
        raise ValueError(f'process {process_index} of {process_count} does not exist; use 0 <= process_index < process_count')
    if batch_size < 1 or batch_size % process_count:
        raise ValueError(f'a batch of {batch_size} cannot be shared by {process_count} processes; use a multiple of {process_count}')
    if epochs is not None and epochs < 1:
        raise ValueError(f'epochs is {epochs}; use at least 1, or None to repeat without end')
    if epochs is not None and epochs * length < batch_size:
        raise ValueError(f'{epochs} epoch(s) of {length} items make no batch of {batch_size}; use a smaller batch or more epochs')
