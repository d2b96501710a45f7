"""Downloads from a server on this machine that is healthy, slow, wrong or gone."""

import gzip
import hashlib
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from kdcourse.data.sources import SOURCES
from kdcourse.system import download
from kdcourse.system.download import DownloadError, fetch
from tests.serving import remote, send, serving

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def mirror():
    with serving() as server:
        server.files["/data.gz"] = CONTENT
        yield server


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.5)
    monkeypatch.setattr(download, "SILENCE", 0.5)


def refusing_address() -> str:
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def gets(server) -> list[str]:
    return [path for method, path in server.asked if method == "GET"]


def test_downloads_once_and_then_reads_what_is_there(server, tmp_path):
    server.files["/data.gz"] = CONTENT
    file = remote("data.gz", CONTENT, server.address)
    assert fetch([file], tmp_path) is True
    assert (tmp_path / "data.gz").read_bytes() == CONTENT
    assert fetch([file], tmp_path) is False
    assert gets(server) == ["/data.gz"]


def test_the_first_address_is_preferred(server, mirror, tmp_path):
    server.files["/data.gz"] = CONTENT
    fetch([remote("data.gz", CONTENT, server.address, mirror.address)], tmp_path)
    assert gets(server) == ["/data.gz"] and gets(mirror) == []


def test_a_damaged_file_is_noticed_and_fetched_again(server, tmp_path, capsys):
    server.files["/data.gz"] = CONTENT
    flipped = bytearray(CONTENT)
    flipped[1000] ^= 1
    (tmp_path / "data.gz").write_bytes(flipped)
    assert fetch([remote("data.gz", CONTENT, server.address)], tmp_path) is True
    assert (tmp_path / "data.gz").read_bytes() == CONTENT
    said = capsys.readouterr().out
    assert "data.gz in the cache is damaged" in said and str(tmp_path) not in said


@pytest.mark.parametrize(
    ("answer", "reported"),
    [
        pytest.param(404, "answered 404", id="missing"),
        pytest.param(403, "answered 403", id="forbidden"),
        pytest.param(CONTENT[:-1], "of 102,400 bytes", id="honestly too short"),
        pytest.param(CONTENT[:-1] + b"!", "other content than expected", id="wrong content of the right size"),
        pytest.param(lambda handler: send(handler, CONTENT[:500], len(CONTENT)), "broke off", id="truncated"),
    ],
)
def test_a_bad_answer_is_reported_deleted_and_the_mirror_asked(server, mirror, tmp_path, capsys, answer, reported):
    server.files["/data.gz"] = answer
    with pytest.raises(DownloadError, match=reported):
        fetch([remote("data.gz", CONTENT, server.address)], tmp_path)
    assert list(tmp_path.iterdir()) == []
    capsys.readouterr()

    assert fetch([remote("data.gz", CONTENT, server.address, mirror.address)], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["data.gz"]
    assert reported in capsys.readouterr().out


def test_a_transfer_that_falls_silent_is_given_up(server, mirror, tmp_path, hurried):
    server.files["/data.gz"] = server.half_then_nothing(CONTENT)
    started = time.monotonic()
    fetch([remote("data.gz", CONTENT, server.address, mirror.address)], tmp_path)
    assert time.monotonic() - started < 3
    assert (tmp_path / "data.gz").read_bytes() == CONTENT


def without_end(handler):
    """A body that goes on for as long as anybody reads it."""
    handler.send_response(200)
    handler.end_headers()
    with suppress(OSError):
        while True:
            handler.wfile.write(CONTENT)


def packed(handler):
    """200 MB of zeros, packed into 200 kB."""
    bomb = gzip.compress(bytes(200_000_000), 9)
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(bomb)))
    handler.end_headers()
    with suppress(OSError):
        handler.wfile.write(bomb)


def drop_by_drop(handler):
    """A byte at a time, never silent for long."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    with suppress(OSError):
        for byte in CONTENT:
            handler.wfile.write(bytes([byte]))
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("answer", "said"),
    [(without_end, "more than 102,400 bytes"), (packed, "more than 102,400 bytes"), (drop_by_drop, "broke off")],
)
def test_a_body_ends_at_its_size_and_its_time(answer, said, server, mirror, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download, "LEAST_TIME", 0.5)
    server.files["/data.gz"] = answer
    started = time.monotonic()
    fetch([remote("data.gz", CONTENT, server.address, mirror.address)], tmp_path)
    assert said in capsys.readouterr().out and time.monotonic() - started < 30
    assert [path.name for path in tmp_path.iterdir()] == ["data.gz"]


def test_a_host_that_broke_down_is_not_asked_for_the_next_file(server, mirror, tmp_path, hurried):
    server.files["/data.gz"] = server.half_then_nothing(CONTENT)
    mirror.files["/more.gz"] = CONTENT[:100]
    addresses = server.address, mirror.address
    fetch([remote("data.gz", CONTENT, *addresses), remote("more.gz", CONTENT[:100], *addresses)], tmp_path)
    assert gets(server) == ["/data.gz"]


def test_nobody_listens(tmp_path):
    started = time.monotonic()
    with pytest.raises(DownloadError, match="none of its hosts can be reached"):
        fetch([remote("data.gz", CONTENT, refusing_address(), refusing_address())], tmp_path)
    assert time.monotonic() - started < 3
    assert not any(tmp_path.iterdir())


def test_hosts_that_never_answer_cost_one_wait_together(tmp_path, hurried):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        addresses = [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in (one, other)]
        started = time.monotonic()
        with pytest.raises(DownloadError, match="none of its hosts can be reached"):
            fetch([remote(name, CONTENT, *addresses) for name in ("a.gz", "b.gz", "c.gz")], tmp_path)
        assert time.monotonic() - started < 2 * download.PATIENCE


def test_a_name_look_up_that_hangs_costs_no_more(tmp_path, hurried, monkeypatch):
    released = threading.Event()

    def hang(*_, **__):
        released.wait(30)
        raise socket.gaierror("no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    started = time.monotonic()
    try:
        with pytest.raises(DownloadError, match="none of its hosts can be reached"):
            fetch([remote("data.gz", CONTENT, "http://data.example")], tmp_path)
        assert time.monotonic() - started < 2 * download.PATIENCE
    finally:
        released.set()


def test_without_patches_the_wait_is_a_few_seconds():
    assert download.PATIENCE <= 5


def test_an_interrupt_leaves_nothing_behind(server, tmp_path, monkeypatch):
    from urllib3 import HTTPResponse

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    server.files["/data.gz"] = CONTENT
    monkeypatch.setattr(HTTPResponse, "read1", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch([remote("data.gz", CONTENT, server.address)], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_no_file_under_the_final_name(server, tmp_path):
    content = CONTENT * 10
    server.files["/data.gz"] = server.half_then_nothing(content)
    # The module alone, by its path: a process that need not wait for torch.
    code = (
        "import sys, pathlib, importlib.util as util\n"
        f"spec = util.spec_from_file_location('download', {download.__file__!r})\n"
        "module = util.module_from_spec(spec); sys.modules['download'] = module; spec.loader.exec_module(module)\n"
        f"file = module.RemoteFile('data.gz', {len(content)}, '0' * 64, ('{server.address}/data.gz',))\n"
        f"module.fetch([file], pathlib.Path({str(tmp_path)!r}))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in tmp_path.iterdir()):  # until the first bytes are on the disk
            assert time.monotonic() < deadline and process.poll() is None
            server.closing.wait(0.02)
    finally:
        process.kill()
        process.wait()
    assert not (tmp_path / "data.gz").exists()
    server.files["/data.gz"] = content
    fetch([remote("data.gz", content, server.address)], tmp_path)
    assert (tmp_path / "data.gz").read_bytes() == content


def test_a_folder_that_cannot_be_made_is_a_clear_error(server, tmp_path):
    server.files["/data.gz"] = CONTENT
    (tmp_path / "occupied").write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match="the cache cannot be used"):
        fetch([remote("data.gz", CONTENT, server.address)], tmp_path / "occupied" / "data")


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_known_of_each_public_file(name):
    for file in SOURCES[name].files:
        assert file.size > 4_000 and len(bytes.fromhex(file.sha256)) == hashlib.sha256().digest_size
        hosts = {address.split("/")[2] for address in file.addresses}
        assert len(hosts) >= 2, "no mirror"
        assert all(address.endswith(f"/{file.name}") for address in file.addresses)
        assert "toronto" not in file.addresses[0], "the throttled host comes first"
