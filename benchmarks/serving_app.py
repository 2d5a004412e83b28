"""The application that `serving.py --http` has uvicorn serve: bytes of an array in, bytes out."""

from __future__ import annotations

import asyncio
import json
import os

import numpy as np
from _common import import_keras
from serving import NETWORKS

keras = import_keras("kerasvino")
keras.utils.set_random_seed(0)
model = NETWORKS[os.environ["SERVING_NETWORK"]][0](keras)


def _predicted(body: bytes, headers: dict[bytes, bytes]) -> np.ndarray:
    array = np.frombuffer(body, headers[b"dtype"].decode())
    return model.predict_on_batch(array.reshape(json.loads(headers[b"shape"])))


async def app(scope, receive, send):
    """An ASGI application; each request runs on a thread of the pool."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    result = await asyncio.to_thread(_predicted, body, dict(scope["headers"]))
    headers = [(b"shape", json.dumps(result.shape).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": result.tobytes()})
