"""Python `websockets` through Bowline: to the built-in echo, and to a Node upstream for what that one does not do."""

import asyncio
import http.client
import os
import ssl
import sys
import traceback

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

PORT = int(os.environ["BOWLINE_PORT"])
ECHO = f"ws://127.0.0.1:{PORT}/echo"
NODE = f"ws://127.0.0.1:{PORT}/node"
SECURE = f"wss://localhost:{os.environ['SECURE_PORT']}/echo"
MIB = 1 << 20


async def text_comes_back():
    async with connect(ECHO) as socket:
        for message in ["hello", "", "grüße, 世界, 🪢"]:
            await socket.send(message)
            assert await socket.recv() == message


async def text_comes_back_over_tls():
    trusting = ssl.create_default_context(cafile=os.environ["AUTHORITY"])
    async with connect(SECURE, ssl=trusting) as socket:
        for message in ["hello", "grüße, 世界, 🪢"]:
            await socket.send(message)
            assert await socket.recv() == message


async def binary_comes_back():
    async with connect(ECHO) as socket:
        for message in [b"", bytes(range(256)), b"\0" * 125, b"\1" * 126, b"\2" * 65535, b"\3" * 65536]:
            await socket.send(message)
            assert await socket.recv() == message


async def a_message_of_1_mib_comes_back():
    async with connect(ECHO, max_size=2 * MIB) as socket:
        for message in [os.urandom(MIB), "b" * MIB]:
            await socket.send(message)
            assert await socket.recv() == message


async def a_thousand_messages_keep_their_order():
    async with connect(ECHO) as socket:
        async def send_all():
            for number in range(1000):
                await socket.send(f"message {number}")

        sender = asyncio.create_task(send_all())
        for number in range(1000):
            assert await socket.recv() == f"message {number}"
        await sender


async def sixteen_mib_cross_both_ways_at_once():
    async with connect(ECHO, max_size=MIB, compression=None) as socket:
        pieces = [os.urandom(MIB // 4) for _ in range(8)]

        async def send_all():
            for number in range(64):
                await socket.send(pieces[number % 8])

        sender = asyncio.create_task(send_all())
        for number in range(64):
            assert await socket.recv() == pieces[number % 8]
        await sender


async def a_ping_gets_its_pong():
    async with connect(ECHO, ping_interval=None) as socket:
        for payload in [b"", b"are you there", b"x" * 125]:
            waiter = await socket.ping(payload)
            assert await waiter >= 0
        await socket.pong(b"nobody asked")
        await socket.send("still here")
        assert await socket.recv() == "still here"


async def the_clients_close_code_and_reason_come_back():
    for address in [ECHO, NODE]:
        async with connect(address) as socket:
            await socket.close(4001, "done for today")
            # What the upstream answered, which both upstreams take from the close they received.
            assert socket.close_code == 4001, socket.close_code
        rcvd = socket.protocol.close_rcvd
        assert rcvd and rcvd.code == 4001, rcvd


async def the_upstreams_close_code_and_reason_arrive():
    async with connect(NODE) as socket:
        await socket.send("close 4002 enough, grüße")
        try:
            await socket.recv()
            raise AssertionError("the upstream did not close")
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4002, "enough, grüße"), closed.rcvd
            assert closed.rcvd_then_sent is True


async def permessage_deflate_is_negotiated_and_works():
    async with connect(NODE, max_size=2 * MIB) as socket:
        names = [extension.name for extension in socket.protocol.extensions]
        assert names == ["permessage-deflate"], names
        for message in ["compress me " * 1000, os.urandom(70_000), "z" * MIB]:
            await socket.send(message)
            assert await socket.recv() == message


async def a_client_without_extensions_gets_none():
    async with connect(NODE, compression=None) as socket:
        assert not socket.protocol.extensions
        await socket.send("plain")
        assert await socket.recv() == "plain"


async def the_chosen_subprotocol_comes_back():
    async with connect(NODE, subprotocols=["superchat", "chat"]) as socket:
        assert socket.subprotocol == "chat", socket.subprotocol
    async with connect(NODE) as socket:
        assert socket.subprotocol is None


async def an_abrupt_end_of_one_client_leaves_the_others_alone():
    async with connect(ECHO) as staying:
        leaving = await connect(ECHO)
        leaving.transport.abort()
        await staying.send("unmoved")
        assert await staying.recv() == "unmoved"


async def plain_http_passes_beside_the_sockets():
    def fetch():
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
        # Twice on one connection: keep-alive is part of the promise.
        for _ in range(2):
            connection.request("GET", "/")
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, answer.status
            assert answer.getheader("Content-Type", "").startswith("text/html")
            assert b"<title>Bowline" in body
        connection.close()

    async with connect(ECHO) as socket:
        await asyncio.to_thread(fetch)
        await socket.send("after")
        assert await socket.recv() == "after"


async def main():
    failed = 0
    for check in CHECKS:
        name = check.__name__.replace("_", " ")
        try:
            async with asyncio.timeout(40):
                await check()
            print(f"ok {name}", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAILED {name}: {error!r}", flush=True)
            traceback.print_exc()
    return 1 if failed else 0


CHECKS = [
    text_comes_back,
    text_comes_back_over_tls,
    binary_comes_back,
    a_message_of_1_mib_comes_back,
    a_thousand_messages_keep_their_order,
    sixteen_mib_cross_both_ways_at_once,
    a_ping_gets_its_pong,
    the_clients_close_code_and_reason_come_back,
    the_upstreams_close_code_and_reason_arrive,
    permessage_deflate_is_negotiated_and_works,
    a_client_without_extensions_gets_none,
    the_chosen_subprotocol_comes_back,
    an_abrupt_end_of_one_client_leaves_the_others_alone,
    plain_http_passes_beside_the_sockets,
]

if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
