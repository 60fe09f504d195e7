"""The HTTP way to one OA, by itself."""

import gc
import weakref

import httpx
import respx
from oa_connector.vendors.channel import Channel, Limits


@respx.mock
async def test_a_reply_that_was_read_is_gone_without_the_collector():
    respx.get("http://oa/process").mock(return_value=httpx.Response(200, json={"id": 1}))
    channel = Channel("http://oa", Limits())
    gc.disable()
    try:
        reply = await channel.call("GET", "/process")
        assert reply.json() == {"id": 1}
        left = weakref.ref(reply)
        del reply
        respx.reset()  # the mock keeps its calls
        assert left() is None
    finally:
        gc.enable()
        await channel.close()
