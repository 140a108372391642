"""A Hub and a process that sees no other."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from . import client
from .server import HubServer


class Client:
    """Calls the functions of `client` in a process of its own and raises here what they raise there."""

    def __init__(self, environment: dict[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, mp_context=context, initializer=client.start, initargs=(environment,))

    def __getattr__(self, name):
        call = getattr(client, name)
        return lambda *args, **options: self.pool.submit(call, *args, **options).result(timeout=480)


@pytest.fixture(scope="session")
def _server():
    with HubServer() as server:
        yield server


@pytest.fixture
def server(_server):
    """The Hub; repos last for the session, so each test takes a name of its own."""
    _server.log.clear()
    yield _server
    left = [fault for fault in _server.faults if fault.times]
    _server.faults.clear()
    assert not left, f"faults that nothing met: {left}"


@pytest.fixture(scope="session")
def environment(_server, tmp_path_factory):
    return {
        "HF_ENDPOINT": _server.endpoint,
        "HF_TOKEN": "hf_writer",
        "HF_HOME": str(tmp_path_factory.mktemp("hf_home")),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    }


@pytest.fixture(scope="session")
def hub(environment):
    """The client with a token that may write."""
    client_ = Client(environment)
    yield client_
    client_.pool.shutdown()


@pytest.fixture
def bare_client(environment):
    """Start a client whose environment differs."""
    started = []

    def start(**changes: str | None) -> Client:
        merged = {**environment, **changes}
        started.append(Client({key: value for key, value in merged.items() if value is not None}))
        return started[-1]

    yield start
    for client_ in started:
        client_.pool.shutdown()
