"""Forwards connections of one network namespace to servers that listen on 127.0.0.1 of another. Packets are dropped
before it, so it takes no part in a partition: python3 forward.py FROM:PORT TO:PORT ..."""

import asyncio
import sys


async def pump(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()


def to(host, port):
    async def accept(reader, writer):
        try:
            server_reader, server_writer = await asyncio.open_connection(host, port)
        except OSError:
            # As the server would refuse: with a reset, not with an end.
            writer.transport.abort()
            return
        await asyncio.gather(pump(reader, server_writer), pump(server_reader, writer))

    return accept


async def main(pairs):
    for pair in pairs:
        here, there = (address.rsplit(":", 1) for address in pair.split("="))
        await asyncio.start_server(to(there[0], int(there[1])), here[0], int(here[1]))
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1:]))
