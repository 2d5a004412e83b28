"""`keras.distribution`: the devices that there are, and clear errors for all that is not."""

import keras
import numpy as np
import pytest
from keras import distribution

import kerasvino
from kerasvino.distribution import place


@pytest.fixture(autouse=True)
def restored():
    yield
    distribution.set_distribution(None)


def mesh(*names):
    return distribution.DeviceMesh((len(names),), ["batch"], list(names))


def test_devices():
    assert distribution.list_devices() == kerasvino.devices()
    assert distribution.list_devices("cpu") == ["cpu:0"]
    assert distribution.list_devices("CPU") == ["cpu:0"]
    with pytest.raises(ValueError, match="No device of type 'tpu' here"):
        distribution.list_devices("tpu")
    assert keras.distribution.get_device_count("cpu") == 1
    assert keras.distribution.get_device_count("tpu") == 0
    assert keras.distribution.get_device_count() == len(kerasvino.devices())


def test_one_process_is_initialized():
    assert distribution.initialize() is None
    assert distribution.initialize(num_processes=1, process_id=0) is None


WRONG = {
    "a number missing": (("10.0.0.1:1234", 2, None), "`process_id` is not known"),
    "a size missing": (("10.0.0.1:1234", None, 1), "`num_processes` is not known"),
    "fewer addresses": (("10.0.0.1:1,10.0.0.2:1", 3, 0), "names 2 processes, `num_processes` is 3"),
    "a number too large": (("10.0.0.1:1234", 2, 2), "of 2 processes it is from 0 to 1"),
    "no port": (("10.0.0.1", 2, 0), "'host:port' is expected"),
    "no address": ((None, 2, 0), "address of process 0 is not known"),
}


@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=WRONG)
def test_what_is_incomplete_is_refused(given, message, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=message):
        distribution.initialize(*given)


LAUNCHERS = {
    "torchrun": {"WORLD_SIZE": "4", "RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "7"},
    "Open MPI": {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1"},
    "MPICH": {"PMI_SIZE": "4", "PMI_RANK": "1"},
    "Slurm": {"SLURM_NTASKS": "4", "SLURM_PROCID": "1"},
}


@pytest.mark.parametrize("environment", LAUNCHERS.values(), ids=LAUNCHERS)
def test_launchers(environment):
    address = None if "MASTER_ADDR" in environment else "a:7"
    assert place(address, environment=environment) == ("a", 7, 4, 1)
    assert place("a:7,b:7,c:7", process_id=2, environment={}) == ("a", 7, 3, 2)
    assert place("[::1]:80", 2, 0, environment) == ("::1", 80, 2, 0)


def network():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


def test_one_device_is_where_everything_runs(monkeypatch):
    monkeypatch.setattr("kerasvino.runtime.devices.devices", lambda: ["cpu:0"])
    x = np.ones((4, 3), "float32")
    distribution.set_distribution(distribution.DataParallel())
    model = network()
    model.compile("sgd", "mse")
    model.fit(x, np.ones((4, 2)), verbose=0)
    expected = x @ np.asarray(model.layers[0].kernel) + np.asarray(model.layers[0].bias)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5)
    layout = distribution.TensorLayout(["batch", None], mesh("cpu:0"))
    np.testing.assert_array_equal(distribution.distribute_tensor(keras.ops.ones((2, 2)), layout), 1)
    assert layout.backend_layout is not None


ABSENT = ("cpu:0", "gpu:7"), ValueError, "No device 'gpu:7' here"
SEVERAL = ("cpu:0", "cpu:0"), ValueError, "A mesh of the devices cpu:0, cpu:0: kerasvino"
X = np.ones((4, 3), "float32")
USES = {
    "a new model": lambda model: network(),
    "predict": lambda model: model.predict(X, verbose=0),
    "predict_on_batch": lambda model: model.predict_on_batch(X),
    "fit": lambda model: model.fit(X, np.ones((4, 2)), verbose=0),
    "train_on_batch": lambda model: model.train_on_batch(X, np.ones((4, 2))),
    "evaluate": lambda model: model.evaluate(X, np.ones((4, 2)), verbose=0),
}


@pytest.mark.parametrize(("names", "kind", "message"), [ABSENT, SEVERAL])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_mesh_of_other_devices_is_refused(names, kind, message, use):
    model = network()
    model.compile("sgd", "mse")
    with (
        distribution.DataParallel(device_mesh=mesh(*names)).scope(),
        pytest.raises(kind, match=message),
    ):
        use(model)
    model.predict(X, verbose=0)


@pytest.mark.parametrize(("names", "kind", "message"), [ABSENT, SEVERAL])
def test_a_layout_on_other_devices_is_refused(names, kind, message):
    layout = distribution.TensorLayout(["batch", None], mesh(*names))
    for use in (
        lambda: distribution.distribute_tensor(keras.ops.ones((2, 2)), layout),
        lambda: layout.backend_layout,
        lambda: mesh(*names).backend_mesh,
    ):
        with pytest.raises(kind, match=message):
            use()
