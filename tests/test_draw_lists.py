"""Promises of the gate for draw lists: whatever a process writes ends in an execution, soon, and never in a crash."""

import json
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recoder_jax.charts.execution import Limits, Status
from tests.replaying import Replaying

RECORD = '''
import sys
import matplotlib
matplotlib.use('Agg')
import matplotlib.patheffects as pe, matplotlib.pyplot as plt, numpy as np
from recoder_jax.charts.picture import take_picture
from recoder_jax.charts.recorder import Recorder
recorder = Recorder()
recorder.install()
figure, axes = plt.subplots(1, 2, figsize=(4, 2))
axes[0].plot([1, 3, 2], 'o--', label='a')
axes[0].bar([1, 2], [1, 2], hatch='/')
axes[0].set_title('$x$')
axes[0].legend()
axes[1].pcolormesh(np.eye(3))
axes[1].scatter([1, 2], [1, 2], c=[1, 2])
axes[1].imshow(np.eye(2), clip_path=plt.Circle((1, 1), 1, transform=axes[1].transData))
axes[1].text(1, 1, 'edged', path_effects=[pe.withStroke()])
axes[1].pcolormesh(np.eye(4), shading='gouraud')
sys.stdout.buffer.write(take_picture(figure, recorder, 4_000_000, replay=True).draw_list)
'''


@pytest.fixture(scope='module')
def honest():
    """Index and blob of a draw list with every kind of operation."""
    run = subprocess.run([sys.executable, '-W', 'ignore', '-c', RECORD], check=True, timeout=120, stdout=subprocess.PIPE)
    length = int.from_bytes(run.stdout[4:8], 'little')
    return run.stdout[8:8 + length].decode(), run.stdout[8 + length:]


@pytest.fixture(scope='module')
def replaying():
    replaying = Replaying(Limits(seconds=6, pixels=1_000_000))
    yield replaying
    replaying.close()


def packed(index, blob):
    text = (index if isinstance(index, str) else json.dumps(index)).encode()
    text += b' ' * (-len(text) % 8)
    return b'DRAW' + len(text).to_bytes(4, 'little') + text + blob


def rows(index, kind):
    return [row for row in index['operations'] if row[0] == kind]


def with_array(index, blob, row, place, dtype, shape, data):
    """Appends an array and lets the row refer to it."""
    index['arrays'].append([dtype, *shape])
    row[place] = len(index['arrays']) - 1
    return blob + data + bytes(-len(data) % 8)


def change(kind, place, value):
    def apply(index, blob):
        rows(index, kind)[0][place] = value
        return blob
    return apply


def change_table(name, place, value):
    def apply(index, blob):
        index[name][0][place] = value
        return blob
    return apply


def change_key(name, value):
    def apply(index, blob):
        index[name] = value
        return blob
    return apply


def many_markers(index, blob):
    import numpy as np
    points = np.random.default_rng(0).random((1_000_000, 2)) * 200
    path = ['d', *points.shape]
    index['arrays'].append(path)
    index['paths'].append([len(index['arrays']) - 1, -1, False, 0.1])
    row = rows(index, 'm')[0]
    row[5] = len(index['paths']) - 1
    return blob + points.tobytes()


def dense_dashes(index, blob):
    for gc in index['gcs']:
        gc[11] = [0.006, 0.006]
    index['affines'] = [[1e5, 0, 0, 0, 1e5, 0]] * len(index['affines'])
    return blob


HOSTILE = {
    'no operations': change_key('operations', []),
    'unknown operation': change('p', 0, 'x'),
    'gc out of range': change('p', 2, 10**6),
    'negative index': change('p', 2, -1),
    'flag for an index': change('p', 2, True),
    'tag of no claim': change_table('tags', 0, 400),
    'NaN in a matrix': change_table('affines', 0, float('nan')),
    'huge matrix': change_key('affines', [[1e300, 0, 0, 0, 1e300, 0]] * 200),
    'infinite matrix': change_key('affines', [[float('inf')] * 6] * 200),
    'huge line width': change_table('gcs', 0, 1e300),
    'negative line width': change_table('gcs', 0, -1),
    'colour over one': change_table('gcs', 6, 2),
    'NaN colour': change_table('gcs', 6, float('nan')),
    'clip of NaN': change_table('gcs', 12, [float('nan')] * 4),
    'infinite clip': change_table('gcs', 12, [-1e308, -1e308, 1e308, 1e308]),
    'dashes of no length': change_table('gcs', 11, [0, 0]),
    'many dashes': change_table('gcs', 11, [1] * 1_000_000),
    'dense dashes': dense_dashes,
    'unknown cap': change_table('gcs', 4, 'square'),
    'sketch of no length': change_table('gcs', 17, [1, 0, 1]),
    'wrong matrix': change_table('affines', 0, [1]),
    'unknown font': change_table('fonts', 6, '/etc/passwd'),
    'huge font': change_table('fonts', 5, 1e9),
    'large font': change_table('fonts', 5, 2_000),
    'no family': change_table('fonts', 0, 'serif'),
    'unknown style': change_table('fonts', 1, 'x' * 100),
    'long text': change('t', 5, 'x' * 100_000),
    'broken mathtext': lambda index, blob: [row.__setitem__(5, '$\\frac{$') or row.__setitem__(8, True)
                                            for row in rows(index, 't')] and blob,
    'deep mathtext': lambda index, blob: [row.__setitem__(5, '$' + '\\sqrt{' * 600 + 'x' + '}' * 600 + '$')
                                          or row.__setitem__(8, True) for row in rows(index, 't')] and blob,
    'text far away': change('t', 3, 1e300),
    'image far away': change('i', 3, 1e300),
    'image of another size': lambda index, blob: with_array(index, blob, rows(index, 'i')[0], 5, 'B', (2, 2, 3), bytes(12)),
    'image without pixels': lambda index, blob: with_array(index, blob, rows(index, 'i')[0], 5, 'B', (0, 0, 4), b''),
    'mesh of another size': change('q', 4, 100_000),
    'negative mesh': change('q', 4, -3),
    'array outside of the blob': lambda index, blob: index['arrays'].append(['d', 1 << 40]) or blob,
    'array of a negative size': lambda index, blob: index['arrays'].append(['d', -8]) or blob,
    'bytes of no array': lambda index, blob: blob + bytes(64),
    'short blob': lambda index, blob: blob[:64],
    'many markers': many_markers,
    'huge canvas': change_key('size', [100_000, 100_000]),
    'canvas without size': change_key('size', [0, 0]),
    'unknown setting': change_key('settings', {'backend': 'module://os'}),
    'wrong setting': change_key('settings', {'mathtext.fontset': 'x', 'text.hinting_factor': 'y'}),
    'huge setting': change_key('settings', {'agg.path.chunksize': 10**300}),
    'no claims': change_key('claims', None),
    'claims of another kind': change_key('claims', {'axes': [[1]], 'calls': 3}),
    'many claims': change_key('claims', {'axes': [[-1, 0, None]], 'calls': [['bar', 0, []]] * 20_000}),
    'cell outside of its grid': change_key('claims', {'axes': [[-1, 0, [1, 1, 4, 4, 4, 4]]], 'calls': []}),
    'axes inside itself': change_key('claims', {'axes': [[0, 0, None]], 'calls': []}),
}


@pytest.mark.parametrize('name', HOSTILE)
def test_a_hostile_list_ends_in_an_execution(honest, replaying, name):
    index, blob = json.loads(honest[0]), honest[1]
    blob = HOSTILE[name](index, blob)
    start = time.monotonic()
    execution = replaying.read(packed(index, blob))
    assert time.monotonic() - start < 60
    assert execution is None or execution.status in (Status.ok, Status.output, Status.forbidden)
    assert execution is None or execution.status is not Status.forbidden or execution.tampered


@pytest.mark.parametrize('body', [b'', b'DRAW', b'DRAW\xff\xff\xff\xff', packed('[' * 200_000, b''), packed('null', b''),
                                  packed('{}', b''), packed('{"arrays": 1e999999}', b''), b'\0' * 1_000])
def test_what_is_no_list_is_malformed(replaying, body):
    execution = replaying.read(body)
    assert execution.status is Status.forbidden and execution.tampered and 'malformed' in execution.log


def test_claims_without_operations_earn_nothing(honest, replaying):
    index = json.loads(honest[0])
    axes = len(index['claims']['axes'])
    index['claims']['axes'] += [[-1, 0, [3, 3, 1, 1, 1, 1]]] * 5
    index['claims']['calls'] += [[name, axes, ['#00FF00', ['hot', ['#FF0000']]]] for name in ('pie', 'bar', 'heatmap', 'colorbar')]
    forged = replaying.read(packed(index, honest[1]))
    assert forged.ok and forged.elements == replaying.read(packed(*honest)).elements


def places(value, found, where=()):
    """All positions in a JSON value."""
    found.append(where)
    if isinstance(value, list):
        for number, part in enumerate(value[:60]):
            places(part, found, (*where, number))
    elif isinstance(value, dict):
        for key, part in value.items():
            places(part, found, (*where, key))
    return found


ODD = st.one_of(st.none(), st.booleans(), st.integers(-2, 300), st.sampled_from([-10**30, 10**30, 1 << 40]),
                st.floats(), st.text(max_size=3), st.just([]), st.just({}), st.lists(st.integers(0, 5), max_size=4))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_list_with_changed_entries_ends_in_an_execution(honest, replaying, data):
    index, blob = json.loads(honest[0]), honest[1]
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.sampled_from(places(index, [])[1:]))
        holder = index
        for step in where[:-1]:
            holder = holder[step]
        holder[where[-1]] = data.draw(ODD)
    execution = replaying.read(packed(index, blob))
    assert execution is None or execution.status in (Status.ok, Status.output, Status.forbidden)
