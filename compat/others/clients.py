"""Drives mio's examples: `clients.py tcp` and `clients.py udp`. They serve port 9000 of this machine."""

import os
import socket
import sys
import time

ADDRESS = ("127.0.0.1", 9000)
SECONDS = 60


def connected():
    """A connection to the server, which may still be starting."""
    began = time.monotonic()
    while True:
        try:
            return socket.create_connection(ADDRESS, timeout=SECONDS)
        except ConnectionRefusedError:
            if time.monotonic() - began > SECONDS:
                raise
            time.sleep(0.1)


def line_of(connection):
    """The welcome that each client gets."""
    line = b""
    while not line.endswith(b"\n"):
        more = connection.recv(64)
        assert more, "the server has closed the connection"
        line += more
    return line


def tcp():
    """Many clients at once: each is welcomed, writes in pieces, and closes in one way or another."""
    for _ in range(5):
        clients = [connected() for _ in range(40)]
        for client in clients:
            assert line_of(client) == b"Hello world!\n"
        for number, client in enumerate(clients):
            client.sendall(b"x" * (1 + number * 500))
        for number, client in enumerate(clients):
            if number % 2:
                client.shutdown(socket.SHUT_WR)
                # The server closes the connection for that.
                assert client.recv(1) == b""
            client.close()
    last = connected()
    assert line_of(last) == b"Hello world!\n"


def udp():
    """Datagrams of all sizes come back."""
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(ADDRESS)
    client.settimeout(1)
    began = time.monotonic()
    while True:
        try:
            client.send(b"first")
            assert client.recv(64) == b"first"
            break
        except (ConnectionRefusedError, TimeoutError):
            assert time.monotonic() - began < SECONDS, "the server does not answer"
            time.sleep(0.1)
    # What was sent before may be answered late.
    client.settimeout(0.5)
    try:
        while True:
            client.recv(64)
    except TimeoutError:
        client.settimeout(SECONDS)
    for number in range(300):
        sent = os.urandom(number * 30)
        client.send(sent)
        assert client.recv(1 << 16) == sent
    for number in range(300):
        client.send(b"%d" % number)
        if number % 10 == 9:
            assert [client.recv(64) for _ in range(10)] == [b"%d" % n for n in range(number - 9, number + 1)]


{"tcp": tcp, "udp": udp}[sys.argv[1]]()
