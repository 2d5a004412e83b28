"""Keras's `ExportArchive`, which writes TensorFlow SavedModels, under this backend."""

__all__ = ["OpenvinoExportArchive", "SavedModelExportArchive"]


class OpenvinoExportArchive:
    """What `keras.export.ExportArchive()` and `model.export(format="tf_saved_model")` make.

    Raises:
        ValueError: always. A SavedModel holds TensorFlow functions, which this backend has none of.
    """

    def __init__(self):
        raise ValueError(
            "TensorFlow SavedModels (keras.export.ExportArchive, and model.export with its default "
            "format 'tf_saved_model') cannot be written under the openvino backend. Write OpenVINO "
            "IR with model.export('model.xml', format='openvino'); or save the model, and export "
            "it under KERAS_BACKEND=tensorflow, jax or torch."
        )


SavedModelExportArchive = OpenvinoExportArchive  # as Keras 3.16 names it
