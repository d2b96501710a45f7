"""A web server on this machine for the tests of downloads; it behaves well or badly as told."""

import hashlib
import threading
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kdcourse.system.download import RemoteFile

Answer = bytes | int | Callable[[BaseHTTPRequestHandler], None]  # content, an error's status, or what to do


class Server:
    """`files`: path -> answer. `asked`: the (method, path) of every request so far."""

    def __init__(self):
        self.files: dict[str, Answer] = {}
        self.asked: list[tuple[str, str]] = []
        self.closing = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                server.asked.append(("HEAD", self.path))
                self.send_response(200)
                self.end_headers()

            def do_GET(self):
                server.asked.append(("GET", self.path))
                answer = server.files.get(self.path, 404)
                if callable(answer):
                    answer(self)
                elif isinstance(answer, int):
                    self.send_error(answer)
                else:
                    send(self, answer, len(answer))

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.http.server_port}"

    def half_then_nothing(self, content: bytes) -> Answer:
        """Send half of what was announced, then fall silent until the end of the test."""

        def answer(handler):
            send(handler, content[: len(content) // 2], len(content))
            self.closing.wait()

        return answer


def send(handler: BaseHTTPRequestHandler, content: bytes, announced: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(announced))
    handler.end_headers()
    handler.wfile.write(content)
    handler.wfile.flush()


@contextmanager
def serving():
    server = Server()
    threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.closing.set()
        server.http.shutdown()
        server.http.server_close()


def remote(name: str, content: bytes, *addresses: str) -> RemoteFile:
    """The description of a file that holds `content`, at `address/name` of each address."""
    digest = hashlib.sha256(content).hexdigest()
    return RemoteFile(name, len(content), digest, tuple(f"{address}/{name}" for address in addresses))
