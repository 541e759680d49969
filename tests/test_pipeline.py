"""Batches: one order per seed, whatever the number of processes; restart from one integer."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder_jax.charts.chart import Chart
from recoder_jax.data.builders import ChartRecord
from recoder_jax.data.building import Request, Tally, build
from recoder_jax.data.pipeline import Pipeline
from recoder_jax.data.sources import open_charts, open_examples


class Numbers:
    """A source that counts what is read."""

    def __init__(self, size):
        self.size, self.reads = size, 0

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if not 0 <= index < self.size:
            raise IndexError(index)
        self.reads += 1
        return f'item {index}'


def test_every_epoch_holds_every_item_once_in_another_order():
    pipeline = Pipeline(Numbers(12), 4, seed=3)
    epochs = [sum((pipeline.batch(step) for step in range(start, start + 3)), []) for start in (0, 3)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(f'item {i}' for i in range(12))
    assert epochs[0] != epochs[1]
    assert pipeline.steps_per_epoch == 3 and pipeline.steps is None


def test_order_depends_on_the_seed_alone():
    batches = [Pipeline(Numbers(50), 5, seed).batch(2) for seed in (1, 1, 2)]
    assert batches[0] == batches[1] != batches[2]


@given(st.integers(1, 30), st.sampled_from([(4, 1), (4, 2), (4, 4), (6, 3)]), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_processes_together_see_the_batches_of_one_process(size, shape, step):
    batch, processes = shape
    whole = Pipeline(Numbers(size), batch, seed=7).batch(step)
    parts = [Pipeline(Numbers(size), batch, 7, process, processes).batch(step) for process in range(processes)]
    assert [parts[place % processes][place // processes] for place in range(batch)] == whole


@pytest.mark.parametrize('processes', [1, 2])
def test_iteration_from_a_step_equals_random_access(processes):
    pipeline = Pipeline(Numbers(11), 4, 0, processes - 1, processes)
    for start in (0, 5):
        assert list(islice(pipeline.iterate(start), 7)) == [pipeline.batch(start + i) for i in range(7)]


@given(st.integers(1, 30), st.sampled_from([1, 2, 3]), st.integers(0, 50), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_processes_together_see_any_span_of_the_order(size, processes, start, count):
    whole = Pipeline(Numbers(size), 6, seed=7)
    parts = [Pipeline(Numbers(size), 6, 7, process, processes).span(start, count) for process in range(processes)]
    assert [parts[place % processes][place // processes] for place in range(count)] == whole.span(start, count)
    assert whole.span(12, 6) == whole.batch(2)


@given(st.integers(1, 30), st.lists(st.sampled_from([1, 2, 4]), min_size=2, max_size=5), st.lists(st.sampled_from([4, 8, 12]), min_size=8, max_size=8))
@settings(max_examples=20, deadline=None)
def test_a_run_started_again_with_more_or_fewer_processes_goes_on_with_the_same_order(size, lives, counts):
    """Each life takes two updates from the position that the one before it left; with refills updates take unequal numbers of charts."""
    position, seen = 0, []
    for life, processes in enumerate(lives):
        parts = [Pipeline(Numbers(size), 4, 7, process, processes) for process in range(processes)]
        for count in (counts + counts)[2 * life:2 * life + 2]:
            told = [part.span(position, count) for part in parts]
            seen += [told[place % processes][place // processes] for place in range(count)]
            position += count
    assert seen == Pipeline(Numbers(size), 4, seed=7).span(0, position)


def test_bounded_epochs_end_and_leave_out_the_short_batch():
    pipeline = Pipeline(Numbers(10), 4, 0, epochs=2)
    assert pipeline.steps == 5
    assert len(list(pipeline)) == 5
    assert list(pipeline.iterate(4)) == [pipeline.batch(4)]
    assert list(pipeline.iterate(5)) == []
    with pytest.raises(IndexError, match='from 0 to 4'):
        pipeline.batch(5)
    assert pipeline.span(19, 1) == pipeline.batch(4)[3:]
    with pytest.raises(IndexError, match='from 0 to 19'):
        pipeline.span(19, 2)
    seen = [item for batch in Pipeline(Numbers(10), 4, 0, epochs=1) for item in batch]
    assert len(seen) == len(set(seen)) == 8


def test_only_what_is_asked_for_is_read():
    source = Numbers(1000)
    Pipeline(source, 5, 0).batch(40)
    assert source.reads == 5


def test_failure_of_the_source_reaches_the_caller():
    class Broken(Numbers):
        def __getitem__(self, index):
            raise ValueError('record 3 is damaged')

    with pytest.raises(ValueError, match='record 3 is damaged'):
        next(Pipeline(Broken(8), 2, 0).iterate())


def test_a_record_that_cannot_be_read_is_named_by_the_thread_that_reads_ahead(tmp_path):
    charts = [Chart(f's/{n}', np.random.default_rng(n).integers(0, 256, (40, 40, 3), dtype=np.uint8), 'x = 1') for n in range(6)]
    build(Request('s', 'a', 'charts', {}, 'd', 'l', 'o'), {'train': lambda: (ChartRecord(chart, '', 'l', 'o') for chart in charts)}, Tally(), tmp_path)
    (file,) = tmp_path.glob('s/a/*/*.array_record*')
    whole = file.read_bytes()
    file.write_bytes(whole[:100] + bytes(200) + whole[300:])
    with pytest.raises(ValueError, match=r"record 0 of split 'train' of .* cannot be read \(RuntimeError: .* hash mismatch.*\); prepare the set again"):
        list(Pipeline(open_examples(tmp_path, 's', 'train'), 2, 0, epochs=1).iterate())
    for damaged in (whole[:len(whole) // 2] + bytes(200) + whole[len(whole) // 2 + 200:], whole[:len(whole) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="of split 'train' of .* cannot be read"):
            open_charts(tmp_path, 's', 'train')[0]


@pytest.mark.parametrize('arguments', [
    dict(source=Numbers(0), batch_size=1),
    dict(source=Numbers(9), batch_size=0),
    dict(source=Numbers(9), batch_size=3, process_count=2),
    dict(source=Numbers(9), batch_size=2, process_index=2, process_count=2),
    dict(source=Numbers(9), batch_size=2, epochs=0),
    dict(source=Numbers(9), batch_size=10, epochs=1),
])
def test_impossible_pipelines_are_refused_in_one_sentence(arguments):
    with pytest.raises(ValueError, match=r'.+; (use|give)'):
        Pipeline(seed=0, **{'process_index': 0, **arguments})
