"""A relay that brings bytes to Bowline one at a time, and now and then not at all for a while.

A write for each byte, sent at once. In each connection there is one pause, behind the head and in the middle of
a frame's header, key or payload, or right behind a frame: long enough for a ping to become due meanwhile. What
Bowline sends passes as it comes.
"""

import contextlib
import itertools
import socket
import threading
import time

# After so many bytes behind the head; the next connection pauses at the next place.
PLACES = (1, 2, 3, 5, 7, 9, 14, 40)
# More than twice the interval of the heartbeat that is tried with it.
PAUSE = 0.12
# Bytes of each connection. A write for each of 16 MiB would take minutes, and what comes behind is more of the same.
MOST = 32 * 1024


@contextlib.contextmanager
def before(port):
    """In front of Bowline: what a client sends is dribbled."""
    with relay(port, from_client=True) as ours:
        yield ours


@contextlib.contextmanager
def behind(port):
    """In front of an upstream: what it answers is dribbled."""
    with relay(port, from_client=False) as ours:
        yield ours


@contextlib.contextmanager
def relay(port, from_client):
    """Relays to `port` until it is left; yields its own port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener, port, from_client), daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            # A close would not wake the thread.
            listener.shutdown(socket.SHUT_RDWR)


def accept(listener, port, from_client):
    for number in itertools.count():
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=join, args=(client, port, from_client, number), daemon=True).start()


def join(client, port, from_client, number):
    """Both directions, until both have ended."""
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talker, listener = (client, server) if from_client else (server, client)
        back = threading.Thread(target=ends, args=(pass_on, listener, talker), daemon=True)
        back.start()
        ends(lambda source, sink: dribble(source, sink, PLACES[number % len(PLACES)]), talker, listener)
        back.join()


def ends(passing, source, sink):
    """Passes one direction on, and its end behind it; an error ends both."""
    try:
        passing(source, sink)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for side in (source, sink):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


def pass_on(source, sink):
    while block := source.recv(65536):
        sink.sendall(block)


def dribble(source, sink, place):
    head, sent = b"", 0
    while block := source.recv(65536):
        if b"\r\n\r\n" not in head:
            head += block
            end = head.find(b"\r\n\r\n")
            if end >= 0:
                place += end + 4
        slowly = block[:max(0, MOST - sent)]
        for byte in slowly:
            sink.sendall(bytes((byte,)))
            sent += 1
            if sent == place:
                time.sleep(PAUSE)
        sink.sendall(block[len(slowly):])
