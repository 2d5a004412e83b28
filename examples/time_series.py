"""A forecast: an LSTM reads 48 hours of a noisy daily rhythm and tells the next 12.

    python examples/time_series.py [--epochs 8]

Prints the mean absolute error on later data, beside that of repeating the day before.
"""

from __future__ import annotations

import argparse

import kerasvino  # noqa: F401 - before keras: selects the backend

import keras  # isort: skip
import numpy as np

PAST, NEXT, DAY = 48, 12, 24


def series(hours: int) -> np.ndarray:
    """A daily and a weekly rhythm, with noise: float32 [hours]."""
    time = np.arange(hours)
    noise = np.random.default_rng(0).normal(0, 0.1, hours)
    rhythm = np.sin(2 * np.pi * time / DAY) + 0.5 * np.sin(2 * np.pi * time / (7 * DAY))
    return (rhythm + noise).astype("float32")


def windows(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pasts [n, PAST, 1] and what followed [n, NEXT]."""
    whole = np.lib.stride_tricks.sliding_window_view(values, PAST + NEXT)
    return whole[:, :PAST, None], whole[:, PAST:]


def main() -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    epochs = parser.parse_args().epochs
    keras.utils.set_random_seed(0)
    values = series(3000)
    x, y = windows(values[:2400])
    later_x, later_y = windows(values[2400:])

    model = keras.Sequential(
        [keras.Input((PAST, 1)), keras.layers.LSTM(32), keras.layers.Dense(NEXT)]
    )
    model.compile(keras.optimizers.Adam(5e-3), "mse", metrics=["mae"])
    model.fit(x, y, batch_size=128, epochs=epochs, verbose=2)

    _, error = model.evaluate(later_x, later_y, verbose=0)
    naive = np.abs(later_x[:, PAST - DAY : PAST - DAY + NEXT, 0] - later_y).mean()
    print(f"mean absolute error {error:.3f}; repeating the day before {naive:.3f}")
    return error


if __name__ == "__main__":
    main()
