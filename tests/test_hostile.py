"""Promises about hostile programs: typed ends, nothing leaked, reached, changed or left, no forged reward.

The whole corpus runs in the highest tier that holds. In the lower ones run the groups whose outcome depends on the
walls; of the programs that wait for their deadline there only a few.
"""

import contextlib
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from recoder_jax.charts.execution import Execution, Limits, Status, failure
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.charts.scores import rule_score
from tests.hostile_corpus import GOLDEN, Hostile, World, corpus

TIERS = ('highest', 'user_namespaces', 'container', 'no_landlock')
CORPUS = corpus()
WALLS = ('disk', 'environment', 'files', 'network', 'persistence', 'processes', 'server', 'shell', 'symlinks')
WAITING = ('blocking/half_a_result', 'processes/outlive_the_server', 'symlinks/swaps_while_emptied')
HASTY = Limits(seconds=1, memory_mb=1024, file_mb=4)
LOWER = Limits(seconds=2.5, memory_mb=1024, file_mb=4)
PATIENT = Limits(seconds=20, memory_mb=1024, file_mb=4)
GRACE_SECONDS = 4.0
WITNESS_EVERY = 4          # one after so many programs
LONGEST_SECONDS = 300.0    # for a future of a batch

# Draws all that an earlier program could have left for it: files, settings, environment, generators, modules.
WITNESS = '''
import os, random, signal, sys
import matplotlib.pyplot as plt
import numpy as np
figure, axes = plt.subplots(figsize=(3, 2))
axes.plot(np.random.rand(5))
axes.bar([1, 2], [random.random(), np.random.default_rng().random()])
try:
    files = sorted(os.listdir('.'))
except PermissionError:
    files = None
left = [files, sorted(os.environ.items()), os.umask(0o77), sys.getrecursionlimit(), sum([1, 2])]
left += [sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), signal.getitimer(signal.ITIMER_REAL)]
left += [os.getpriority(os.PRIO_PROCESS, 0), sorted(name for name in sys.modules if 'custom' in name), sys.path[:3]]
axes.set_title(str(left)[:20])
axes.set_xlabel(str(hash(str([str(value).replace(os.getcwd(), '.') for value in left]))))
'''


def cases() -> list[tuple[str, Hostile]]:
    chosen = [('highest', program) for program in CORPUS.values()]
    for tier in TIERS[1:]:
        chosen += [(tier, program) for program in CORPUS.values() if program.name in WAITING
                   or program.group in WALLS and program.expect != {'timeout'}]
    return chosen


CASES = cases()


@dataclass
class Batch:
    """What the programs of one tier came to."""

    unavailable: str = ''
    layers: dict[str, bool] = field(default_factory=dict)
    executions: dict[str, Execution] = field(default_factory=dict)
    honest: dict[str, Execution] = field(default_factory=dict)
    witnesses: list[Execution] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)


class Batches:
    """Runs the programs of a tier when its first test asks for them."""

    def __init__(self, world: World, wanted: set[tuple[str, str]]):
        self._world = world
        self._wanted = wanted
        self._made: dict[str, Batch] = {}

    def of(self, tier: str) -> Batch:
        if tier not in self._made:
            self._made[tier] = self._run(tier)
        return self._made[tier]

    def _run(self, tier: str) -> Batch:
        name = None if tier == 'highest' else tier
        programs = [CORPUS[name] for at, name in sorted(self._wanted) if at == tier]
        batch = Batch()
        try:
            with contextlib.ExitStack() as pools:
                workers = (2, 1) if name else (4, 2)      # a server takes two seconds to start, the fewer programs of a lower tier little longer
                hasty = pools.enter_context(Sandbox(workers=workers[0], limits=LOWER if name else HASTY, seed=3, tier=name))
                if name is not None and hasty.tier != name:
                    return Batch(unavailable=f'this machine reaches {hasty.tier} only')
                patient = pools.enter_context(Sandbox(workers=workers[1], limits=PATIENT, seed=3, tier=name))
                batch.layers = hasty.layers
                self._execute(batch, programs, hasty, patient)
        except ValueError as error:
            return Batch(unavailable=str(error))
        batch.damage = self._world.damage()
        return batch

    def _execute(self, batch: Batch, programs: list[Hostile], hasty: Sandbox, patient: Sandbox) -> None:
        """Runs programs with a deadline on one pool and those that are compared on the other, both at the same time."""
        futures, witnesses, honest = {}, [hasty.submit(WITNESS)], {GOLDEN: patient.submit(GOLDEN)}
        for number, program in enumerate(programs):
            pool = patient if program.group == 'forge' else hasty
            futures[program] = pool.submit(self._world.fill(program.text))
            if program.group == 'forge' and program.honest not in honest:
                honest[program.honest] = patient.submit(program.honest)
            if pool is hasty and number % WITNESS_EVERY == 0:
                witnesses.append(hasty.submit(WITNESS))
        for program, future in futures.items():
            execution = future.result(LONGEST_SECONDS)
            if execution.status is Status.timeout and program.expect and 'timeout' not in program.expect:
                execution = patient.execute(self._world.fill(program.text))     # the machine was busy
            batch.executions[program.name] = execution
        executions = [future.result(LONGEST_SECONDS) for future in [*witnesses, hasty.submit(WITNESS)]]
        batch.witnesses = [one for one in executions if one.status is not Status.timeout]
        batch.honest = {text: future.result(LONGEST_SECONDS) for text, future in honest.items()}


@pytest.fixture(scope='module')
def world():
    with World() as made:
        here = os.getcwd()
        os.chdir(made.names['cwd'])
        yield made
        os.chdir(here)


@pytest.fixture(scope='module')
def batches(request, world):
    chosen = [item.callspec.params for item in request.session.items
              if item.path == request.path and hasattr(item, 'callspec') and 'program' in item.callspec.params]
    return Batches(world, {(one['tier'], one['program'].name) for one in chosen})


def batch_of(batches: Batches, tier: str) -> Batch:
    batch = batches.of(tier)
    if batch.unavailable:
        pytest.skip(batch.unavailable)
    return batch


@pytest.mark.parametrize('tier, program', CASES, ids=[f'{tier}-{program.name}' for tier, program in CASES])
def test_a_hostile_program_ends_typed_and_gains_nothing(batches, world, tier, program):
    if not program.runs_here:
        pytest.skip('its numbers of system calls are those of x86-64')
    batch = batch_of(batches, tier)
    execution = batch.executions[program.name]
    assert isinstance(execution.status, Status)
    assert (execution.render is not None) == (execution.elements is not None) == execution.ok
    assert len(execution.log) <= 2_000 and execution.seconds <= PATIENT.seconds + GRACE_SECONDS
    assert not world.leaks(execution)
    # Without Landlock no file can be opened, so a program may end at an import before it tries anything.
    others = {'error', 'forbidden'} if tier == 'no_landlock' else set()
    assert not program.expect or execution.status.value in program.expect | others, (execution.status, execution.log)
    assert ': QUOTA' not in execution.log or not batch.layers['scratch_quota'], execution.log
    if program.group == 'forge':
        check_forgery(batch, program, execution)


def check_forgery(batch: Batch, program: Hostile, forged: Execution) -> None:
    """The forger gets no more than the honest program that draws the same picture, measure by measure."""
    honest = batch.honest[program.honest]
    assert honest.ok, honest.log
    golden = batch.honest[GOLDEN]
    wrong, right = rule_score(forged, golden), rule_score(honest, golden)
    gains = {name: (getattr(wrong, name), getattr(right, name)) for name in ('text', 'layout', 'chart_type', 'color')
             if getattr(wrong, name) > getattr(right, name) + 1e-6}
    assert not gains, (gains, forged.elements, honest.elements)


TIERED = pytest.mark.parametrize('tier', TIERS)


@TIERED
def test_nothing_outside_is_harmed_reached_or_left(batches, tier):
    assert batch_of(batches, tier).damage == []


@TIERED
def test_the_next_program_meets_no_trace_of_the_last(batches, tier):
    first, *rest = batch_of(batches, tier).witnesses
    assert first.ok, first.log
    for witness in rest:
        assert witness.ok, (witness.status, witness.log)
        assert witness.elements == first.elements
        np.testing.assert_array_equal(witness.render, first.render)


def test_the_world_notices_what_is_broken(world):
    assert world.damage() == []
    secret = Path(world.names['secret'])
    text = secret.read_text()
    secret.write_text('changed')
    socket.create_connection(('127.0.0.1', int(world.names['tcp']))).close()
    with subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']) as left:
        found = ' '.join(world.damage())
        left.kill()
    assert 'secret.txt was changed' in found and 'arrived at the tcp socket' in found and str(left.pid) in found
    secret.write_text(text)
    assert world.damage() == ['folder/secret.txt was changed']
    assert world.leaks(failure(Status.error, f'RuntimeError: {text}')) == ['file']
    assert world.leaks(failure(Status.error, 'RuntimeError: BROKEN file read'))
    assert not world.leaks(failure(Status.error, 'RuntimeError: nothing'))


def test_the_corpus_is_large():
    forgers = [program for program in CORPUS.values() if program.group == 'forge']
    assert len(CORPUS) - len(forgers) >= 95 and len(forgers) >= 30


def test_every_program_is_a_program():
    for program in CORPUS.values():
        compile(program.text, program.name, 'exec')
        assert program.expect <= {status.value for status in Status}, program.name
        assert program.group != 'forge' or program.honest != program.text
