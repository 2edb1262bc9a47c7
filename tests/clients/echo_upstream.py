"""An upstream by Python `websockets`: the same contract as echo_upstream.mjs, from other hands."""

import asyncio
import re
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def echo(socket):
    try:
        async for message in socket:
            order = re.match(r"close (\d+) (.*)$", message) if isinstance(message, str) else None
            if order:
                await socket.close(int(order[1]), order[2])
            else:
                await socket.send(message)
    except ConnectionClosed:
        pass


def choose(_, offered):
    return "chat" if "chat" in offered else None


async def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    options = {"max_size": 64 << 20, "select_subprotocol": choose}
    async with serve(echo, "127.0.0.1", port, **options) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
