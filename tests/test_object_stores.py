"""The copy of a run on servers that speak the protocols of S3 and of Google's storage, which are emulators on this machine."""

import asyncio
import socket
import types
import uuid

import pytest

from recoder_jax.runs.mirror import MARK, Mirror
from tests.test_mirror import QUICK, checkpoint, files, run_at, until


class Server:
    """A server that can be away; what it holds outlives `stop`."""

    def start(self):
        self._server = self._made()
        self._server.start()

    def stop(self):
        self._server.stop()


class S3(Server):
    """moto's."""

    protocol = 's3'

    def __init__(self, port, folder, monkeypatch):
        del folder
        from moto.server import ThreadedMotoServer

        given = {'ACCESS_KEY_ID': 'x', 'SECRET_ACCESS_KEY': 'x', 'DEFAULT_REGION': 'us-east-1', 'MAX_ATTEMPTS': '1'}
        for name, value in (given | {'ENDPOINT_URL': f'http://127.0.0.1:{port}'}).items():
            monkeypatch.setenv(f'AWS_{name}', value)
        self._made = lambda: ThreadedMotoServer(ip_address='127.0.0.1', port=port, verbose=False)
        self.start()

    def make_bucket(self):
        import boto3

        boto3.client('s3').create_bucket(Bucket='bucket')


class Google(Server):
    """gcp-storage-emulator."""

    protocol = 'gs'

    def __init__(self, port, folder, monkeypatch):
        from gcp_storage_emulator.server import create_server

        monkeypatch.setenv('GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT', 'false')  # which would ask for the kind of bucket with real credentials
        monkeypatch.setenv('STORAGE_EMULATOR_HOST', f'http://127.0.0.1:{port}')
        monkeypatch.setattr('gcsfs.retry.asyncio', types.SimpleNamespace(sleep=lambda seconds: asyncio.sleep(seconds / 100)))
        self._made = lambda: create_server('127.0.0.1', port, data_dir=str(folder))
        self.start()

    def make_bucket(self):
        import gcsfs

        gcsfs.GCSFileSystem(skip_instance_cache=True).mkdir('bucket')


@pytest.fixture(params=[S3, Google])
def store(request, monkeypatch, tmp_path_factory):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    server = request.param(port, tmp_path_factory.mktemp('store'), monkeypatch)
    server.make_bucket()
    server.address = f'{server.protocol}://bucket/{uuid.uuid4().hex}'
    yield server
    server.stop()


def test_a_run_is_copied_changed_and_fetched(store, tmp_path):
    run = run_at(tmp_path / 'run', 4)
    with Mirror(run.path, store.address, QUICK):
        pass
    run.rewind(3)
    run.write_metrics(4, {'loss/nll': 9.0})
    checkpoint(run, 5)
    checkpoint(run, 6, mark=False)
    (run.path / 'checkpoints' / '4' / MARK).unlink()
    with Mirror(run.path, store.address, QUICK):
        pass
    there = tmp_path / 'new' / 'run'
    with Mirror(there, store.address, QUICK):
        assert files(there) == files(run.path, but=('checkpoints/4', 'checkpoints/6'))


def test_a_server_that_is_away_delays_the_copy_and_not_the_run(store, tmp_path):
    run, said = run_at(tmp_path / 'run', 2), []
    with Mirror(run.path, store.address, QUICK, said.append) as mirror:
        store.stop()
        run.write_metrics(3, {'loss/nll': 0.1})
        mirror.wake()
        until(lambda: said)
        store.start()
        until(lambda: len(said) == 2)
    assert 'cannot be written' in said[0] and 'answers again' in said[1]
    there = tmp_path / 'new' / 'run'
    with Mirror(there, store.address, QUICK):
        assert files(there) == files(run.path)
