"""client.py URL CA VERSION [CERT KEY]: the websockets library. CERT is for mutual TLS."""
import asyncio
import ssl
import sys

import websockets

context = ssl.create_default_context(cafile=sys.argv[2])
version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[sys.argv[3]]
context.minimum_version = context.maximum_version = version
if len(sys.argv) > 4:
    context.load_cert_chain(sys.argv[4], sys.argv[5])


async def main():
    async with websockets.connect(sys.argv[1], ssl=context) as socket:
        for text in ["", "hello", "x" * 200, "é" * 30000]:
            await socket.send(text)
            answer = await socket.recv()
            assert answer == text, f"{len(text)} characters came back as {len(answer)}"
        await socket.ping()
    assert socket.close_code == 1000, f"closed with {socket.close_code}"
    print("ok")


asyncio.run(asyncio.wait_for(main(), 60))
