"""A model as a deployment of Ray Serve, which answers requests in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerasvino.backend.keras_private import tree
from kerasvino.ray.models import Loaded, configure, ray_or_error

__all__ = ["deployment"]


def deployment(
    model: Any,
    *,
    batch_sizes: Sequence[int] = (1, 2, 4, 8, 16, 32),
    wait_seconds: float = 0.005,
    threads: int | None = None,
    settings: Mapping[str, Any] | None = None,
    share: bool = True,
    **options: Any,
) -> Any:
    """An application for `serve.run` that predicts single rows, several of them at a time.

    For example::

        handle = serve.run(kerasvino.ray.deployment("model.keras", num_replicas=2))
        score = handle.remote(row).result()  # row: an array without the axis of the batch
        handle.reload.remote("newer.keras").result()

    Requests that come within `wait_seconds` make one batch. It is filled up to the next of
    `batch_sizes` with copies of its last row, so there are as many programs as there are sizes; all
    are compiled when the first request has come. Over HTTP the body is JSON: a nested list, or
    {input: nested list}.

    Args:
        model: as of `Predictor`.
        batch_sizes: of the compiled programs; the last is the largest batch.
        wait_seconds: how long the first request of a batch waits for others.
        threads: of a replica. Default: the CPUs that Ray has given it.
        settings: of `kerasvino.config.set`, for the replicas.
        share: as of `Predictor`.
        options: of `serve.deployment`: `num_replicas`, `ray_actor_options`, `autoscaling_config` …

    Raises:
        ImportError: Ray Serve is not installed.
        ValueError: `batch_sizes` is empty or holds something else than positive integers.
    """
    ray_or_error()
    from ray import serve

    sizes = tuple(sorted(batch_sizes))
    if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"batch_sizes holds positive integers; given: {batch_sizes!r}.")
    given = {"threads": threads, "settings": dict(settings or {}), "share": share, "sizes": sizes}
    batched = serve.batch(max_batch_size=sizes[-1], batch_wait_timeout_s=wait_seconds)

    options = {"max_ongoing_requests": 2 * sizes[-1], **options}

    @serve.deployment(**options)
    class Model(_Replica):
        @batched
        async def _answer(self, rows: list[Any]) -> list[Any]:
            return await self._predict(rows)

    return Model.bind(model, **given)


class _Replica:
    """What Ray Serve starts. `_answer` is given by `deployment`: it gathers requests."""

    def __init__(self, model: Any, threads, settings, share: bool, sizes: tuple[int, ...]):
        configure(settings, threads)
        self._share, self._sizes = share, sizes
        self._model = Loaded(model, share)
        self._is_warm = False

    async def __call__(self, row: Any) -> Any:
        """The prediction for one row; of an HTTP request one that is JSON."""
        if not hasattr(row, "json"):
            return await self._answer(row)
        found = await self._answer(_from_json(await row.json()))
        return tree.map_structure(lambda array: np.asarray(array).tolist(), found)

    async def reload(self, model: Any) -> None:
        """Answers with another model from now on; requests that have begun end with the old one."""
        loop = asyncio.get_running_loop()
        newer = await loop.run_in_executor(None, Loaded, model, self._share)
        self._is_warm, self._model = False, newer

    def check_health(self) -> None:
        """Is asked by Ray Serve; a replica that raises is started anew."""
        if self._model is None:
            raise RuntimeError("There is no model.")

    async def _predict(self, rows: list[Any]) -> list[Any]:
        """Predictions for rows, on a thread: the loop goes on to take requests."""
        return await asyncio.get_running_loop().run_in_executor(None, self._run, rows)

    def _run(self, rows: list[Any]) -> list[Any]:
        model, count = self._model, len(rows)
        whole = next(size for size in self._sizes if size >= count)
        rows = rows + [rows[-1]] * (whole - count)
        x = tree.map_structure(lambda *parts: np.stack([np.asarray(p) for p in parts]), *rows)
        if not self._is_warm:
            model.warm_up(x, self._sizes)
            self._is_warm = True
        found = model(x)
        return [tree.map_structure(lambda part, n=n: part[n], found) for n in range(count)]


def _from_json(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: _number_array(value) for name, value in content.items()}
    return _number_array(content)


def _number_array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    return array.astype("float32") if array.dtype.kind == "f" else array
