"""The base class that Keras gives its layers under this backend."""

__all__ = ["OpenvinoLayer"]


class OpenvinoLayer:
    """Counts assignments to a layer's public attributes, which a compiled call may depend on.

    Variables tell the trace what they do; `layer.rate = 0.5` or `layer.trainable = False` do not.
    """

    _assignments = 0

    def __setattr__(self, name, value):
        known = self.__dict__
        if (name[0] != "_" or name == "_trainable") and known.get(name, self) is not value:
            known["_assignments"] = self._assignments + 1
        super().__setattr__(name, value)
