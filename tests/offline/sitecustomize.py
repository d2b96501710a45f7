"""Cut this process off from every machine but this one; put on PYTHONPATH, Python runs it first of all."""

import ipaddress
import socket

_connect, _connect_ex, _getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


def _is_here(host):
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return False


def _refuse(address):
    # Unix sockets are named by a path, not by a pair of host and port.
    if isinstance(address, tuple) and not _is_here(address[0]):
        raise ConnectionRefusedError(f"the network is cut off for this test: {address[0]}")


def connect(self, address):
    _refuse(address)
    return _connect(self, address)


def connect_ex(self, address):
    _refuse(address)
    return _connect_ex(self, address)


def getaddrinfo(host, *arguments, **settings):
    if not _is_here(host):
        raise socket.gaierror(f"the network is cut off for this test: {host}")
    return _getaddrinfo(host, *arguments, **settings)


socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo = connect, connect_ex, getaddrinfo
