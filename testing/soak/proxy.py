"""A network that can be made bad: a TCP proxy on a free port of the loopback interface."""

import asyncio
import random
import threading

CHUNK = 16 << 10
# Bytes a second of a network that is slow.
SLOW = 8 << 10


class Proxy:
    """Passes connections on. `mode` says how: clear, stall (nothing arrives), reset (connections end at any byte), slow, or
    corrupt (bits turn over, in both directions: heads, bodies and answers alike)."""

    def __init__(self, target, seed):
        self.target, self.mode = target, "clear"
        self.chance = random.Random(seed)
        self.bits_turned = self.connections_cut = 0
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self.thread.start()
        started.wait()

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()

    def set(self, mode):
        self.mode = mode

    async def _serve(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        ways = [self._pump(reader, far_writer), self._pump(far_reader, writer)]
        try:
            done, rest = await asyncio.wait([asyncio.ensure_future(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
            if not all(task.result() for task in done):
                [task.cancel() for task in rest]
            await asyncio.gather(*rest, return_exceptions=True)
        finally:
            writer.transport.abort()
            far_writer.transport.abort()

    async def _pump(self, reader, writer):
        """One direction, to its end; whether that was an orderly one."""
        try:
            while data := await reader.read(CHUNK):
                while self.mode == "stall":
                    await asyncio.sleep(0.1)
                if self.mode == "reset" and self.chance.random() < 0.5:
                    self.connections_cut += 1
                    writer.write(data[: self.chance.randrange(len(data))])
                    return False
                if self.mode == "slow":
                    await asyncio.sleep(len(data) / SLOW)
                if self.mode == "corrupt" and self.chance.random() < 0.6:
                    data = self._turn(bytearray(data))
                writer.write(data)
                await writer.drain()
            writer.write_eof()
            return True
        except OSError:
            return False

    def _turn(self, data):
        data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)
        self.bits_turned += 1
        return bytes(data)
