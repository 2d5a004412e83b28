"""Uses the whole public surface; type checkers must find nothing wrong here, in strict mode."""
# pyright: strict

import sys
from collections.abc import Callable
from typing import Any, assert_type

import numpy as np

import kerasvino
from kerasvino import GradientTape, NotDifferentiableError, Tensor, config, errors
from kerasvino.profiling import Profile


def of_the_process() -> list[str]:
    kerasvino.activate()
    assert_type(kerasvino.is_active(), bool)
    assert_type(kerasvino.__version__, str)
    config.set(device="cpu", precision="f32", cache_dir=None, cache_size="2GB")
    with config.using(threads=1) as settings:
        assert_type(settings.threads, int | None)
        assert_type(settings.device, str)
    assert_type(config.get().cache_dir, str | None)
    return kerasvino.devices()


def of_tensors(x: Tensor) -> float:
    assert_type(x.shape, tuple[int | None, ...])
    assert_type(x.dtype, str)
    y = assert_type(-x + 1 / x, Tensor)
    y = y @ y.T % 3 // 2 - abs(y) ** 2
    assert_type(y > 0, Tensor)
    assert_type(y == 0, Tensor)
    assert_type(y[0, ..., None], Tensor)
    assert_type(y.at[0].set(1.0), Tensor)
    assert_type(y.sum(axis=(0, 1), keepdims=True).reshape(-1).astype("int32"), Tensor)
    for row in y:
        assert_type(row, Tensor)
    values: np.ndarray[Any, np.dtype[Any]] = y.numpy()
    assert_type(kerasvino.is_traced([y]), bool)
    return float(y.mean()) + values.size + len(y)


def loss(x: Tensor) -> Tensor:
    """A function to differentiate."""
    return (x * x).sum()


@kerasvino.jit
def compiled(x: Tensor, scale: float = 1.0) -> Tensor:
    return x * scale


@kerasvino.jit(static_argnames="turns")
def repeated(x: Tensor, turns: int = 2) -> Tensor:
    for _ in range(turns):
        x = x + x
    return x


def of_gradients(x: Tensor) -> None:
    gradient: Callable[..., Any] = kerasvino.grad(loss)
    value, also = kerasvino.value_and_grad(loss, argnums=0)(x)
    result, pull = kerasvino.vjp(loss, x)
    result, moved = kerasvino.jvp(loss, (x,), (x,))
    with GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = loss(x)
        with tape.stop_recording():
            y = y + 1
    found: Tensor = tape.gradient(y, x)
    print(gradient(x), value, also, result, pull, moved, found, tape.watched_variables())
    assert_type(compiled(x, scale=2.0), Tensor)
    assert_type(repeated(x, turns=3), Tensor)


def of_profiles(model: Any, x: Any) -> str:
    found = assert_type(kerasvino.profile(model, x, runs=3), Profile)
    found.save_html("profile.html")
    for layer in found.layers:
        assert_type(layer.seconds, float)
        assert_type(layer.path, str)
    return f"{found.seconds:.3f} {found}"


def of_errors() -> int:
    try:
        of_gradients(Tensor(np.ones(3)))
    except NotDifferentiableError as error:
        print(error, file=sys.stderr)
    except (errors.TracedValueError, errors.LoweringError, errors.GraphRangeError):
        return 1
    except errors.NumericsError as error:
        assert_type(error, errors.NumericsError)
    return 0


def of_the_standard() -> Any:
    namespace: Any = kerasvino.array_api
    return namespace.asarray([1.0, 2.0])


def of_quantized(model: Any, x: np.ndarray) -> Any:
    quantized = kerasvino.quantize(model, x, preset="mixed", ignored=["first"], samples=64)
    kerasvino.quantize(model, x, metric=lambda model: 1.0, max_drop=0.01, verbose=False)
    found = kerasvino.quantization(quantized)
    if found is not None:
        assert_type(found.layers["second"], str)
        assert_type(found.seconds["f32"], float)
    return kerasvino.dequantize(quantized)


def of_text(model: Any) -> list[str]:
    pieces: list[str] = []
    for piece in kerasvino.stream(model, "Keras is", max_length=8):
        pieces.append(assert_type(piece, str))
    for token in kerasvino.stream(model, [1, 2], 8, stop_token_ids=[3]):
        assert_type(token, int)
    with kerasvino.Conversation(model) as chat:
        pieces += chat.stream("Keras is", max_length=8)
        chat.generate(" and", 16, None)
        print(chat.history)
    return pieces
