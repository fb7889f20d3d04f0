"""The client of another implementation: `websocket.py URL` talks to the echo of websocket.rs, and compares."""

import asyncio
import os
import sys

import websockets


async def talk(url, client):
    async with websockets.connect(url, max_size=None) as websocket:
        sent = [os.urandom(size) for size in (0, 1, 125, 126, 65535, 65536, 5, 2000000)]
        sent += [f"text {client} \N{SNOWMAN} " * count for count in (1, 100, 100000)]

        async def send():
            for message in sent:
                await websocket.send(message)

        sending = asyncio.create_task(send())
        for message in sent:
            assert await websocket.recv() == message
        await sending
        await (await websocket.ping())
    assert websocket.close_code == 1000, websocket.close_code


async def main():
    await asyncio.gather(*(talk(sys.argv[1], client) for client in range(10)))
    print("all messages came back")


asyncio.run(asyncio.wait_for(main(), 180))
