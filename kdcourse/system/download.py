"""Files from the network: size and sha256 checked, several addresses for each, no long wait, nothing half-written."""

import hashlib
import queue
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

PATIENCE = 4.0  # seconds that all hosts together get to show a sign of life
SILENCE = 10.0  # seconds without a byte after which a running transfer is given up
LEAST_TIME, LEAST_SPEED = (
    60.0,
    50_000,
)  # seconds for any file, and bytes a second: a transfer that is slower is given up


class DownloadError(OSError):
    """No address gave the file as it should be; the message says what each of them did."""


@dataclass(frozen=True)
class RemoteFile:
    """A file with its exact size in bytes, its sha256 and the addresses to try, best first."""

    name: str
    size: int
    sha256: str
    addresses: tuple[str, ...]

    def is_intact(self, folder: Path) -> bool:
        """Whether the file lies in `folder`, byte for byte."""
        path = folder / self.name
        return path.is_file() and path.stat().st_size == self.size and sha256(path) == self.sha256


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(files: Sequence[RemoteFile], folder: Path) -> bool:
    """See to it that all `files` lie intact in `folder`; returns whether anything had to be downloaded.

    A file there is read and compared first; a damaged one is deleted, with a message, and fetched again. Raises
    `DownloadError` when no host answers within `PATIENCE` seconds and when no address gives the right content.
    """
    try:
        missing = [file for file in files if not file.is_intact(folder)]
        for file in missing:
            if (folder / file.name).exists():
                print(f"{file.name} in the cache is damaged: it is deleted and fetched again.")
                (folder / file.name).unlink()
        hosts = answering(address for file in missing for address in file.addresses)
        if missing and not hosts:
            raise DownloadError("none of its hosts can be reached")
        for file in missing:
            _fetch_one(file, folder, hosts)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(f"the cache cannot be used: {error.strerror or type(error).__name__}") from error
    return bool(missing)


def _fetch_one(file: RemoteFile, folder: Path, hosts: set[str]) -> None:
    """Try the addresses in turn; a host that breaks down is taken out of `hosts`."""
    import pooch
    import requests
    from urllib3.exceptions import HTTPError

    pooch.get_logger().setLevel("WARNING")  # its messages name folders of this machine
    reasons = []
    for address in file.addresses:
        host = host_of(address)
        if host not in hosts:
            reasons.append(f"{host} cannot be reached")
            continue
        try:
            # pooch writes to a temporary file, compares its hash, and renames it or deletes it.
            pooch.retrieve(address, f"sha256:{file.sha256}", file.name, folder, downloader=_downloader(file))
            return
        except requests.HTTPError as error:
            reasons.append(f"{host} answered {error.response.status_code}")
        except (requests.RequestException, HTTPError):
            hosts.discard(host)
            reasons.append(f"{host} broke off")
        except _WrongSize as error:
            reasons.append(f"{host} sent {error}")
        except ValueError:
            reasons.append(f"{host} sent other content than expected")
        print(f"{file.name}: {reasons[-1]}.")
    raise DownloadError("; ".join(reasons))


class _WrongSize(ValueError):
    pass


def _downloader(file: RemoteFile):
    """What pooch calls to fill its temporary file: a progress bar, and an end at the declared size and after a fair time."""
    import requests
    from tqdm.auto import tqdm

    def download(address: str, target: str, _: object) -> None:
        received, deadline = 0, time.monotonic() + LEAST_TIME + file.size / LEAST_SPEED
        with (
            requests.get(address, stream=True, timeout=(PATIENCE, SILENCE)) as response,
            Path(target).open("wb") as part,
            tqdm(total=file.size, unit="B", unit_scale=True, desc=file.name, leave=False) as bar,
        ):
            response.raise_for_status()
            # read1 gives what is there, however little, and unpacks what comes packed: the size counted is that on the disk.
            while chunk := response.raw.read1(2**16, decode_content=True):
                received += len(chunk)
                if received > file.size:
                    raise _WrongSize(f"more than {file.size:,} bytes")
                if time.monotonic() > deadline:
                    raise requests.Timeout("slower than anybody waits for")
                part.write(chunk)
                bar.update(len(chunk))
        if received != file.size:
            raise _WrongSize(f"{received:,} of {file.size:,} bytes")

    return download


def answering(addresses: Iterable[str]) -> set[str]:
    """Which hosts of these addresses answer at all within `PATIENCE` seconds.

    Asked side by side in threads that are left behind when time is up: a socket's own time-out covers neither the
    look-up of the name nor a host's second and third address, and behind some firewalls each of those takes long.
    """
    import requests

    address_of = {host_of(address): address for address in addresses}
    answers: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()

    def ask(host: str, address: str) -> None:
        try:
            requests.head(address, timeout=PATIENCE, allow_redirects=False).close()
            answers.put((host, True))
        except (OSError, ValueError):  # requests' own exceptions are OSErrors
            answers.put((host, False))

    for item in address_of.items():
        threading.Thread(target=ask, args=item, daemon=True).start()
    deadline = time.monotonic() + PATIENCE
    heard = {}
    with suppress(queue.Empty):
        while len(heard) < len(address_of):
            host, answered = answers.get(timeout=max(0.0, deadline - time.monotonic()))
            heard[host] = answered
    return {host for host, answered in heard.items() if answered}


def host_of(address: str) -> str:
    return urlsplit(address).netloc
