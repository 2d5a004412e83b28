"""Rows of the fused recurrences."""

from tests.primitives.harness import Case, Row

GATES = {"activation": "tanh", "recurrent_activation": "sigmoid"}


def _cases(gates, states, bias, **attrs):
    cases = []
    for batch, time, features, units in ((2, 5, 3, 4), (1, 1, 1, 1), (3, 7, 2, 5)):
        width = gates * units
        shapes = [
            (batch, time, features),
            *[(batch, units)] * states,
            (features, width),
            (units, width),
        ]
        for reverse in (False, True):
            named = {**GATES, **attrs, "reverse": reverse}
            cases.append(Case(*shapes, bias(width), attrs=named))
    return cases


# The number of units of a fused kernel is known when the graph is made: no fully dynamic run.
ROWS = [
    Row(
        "lstm_sequence",
        _cases(4, 2, lambda n: (n,)),
        values="unit",
        rtol=1e-5,
        atol=1e-6,
        dynamic=False,
    ),
    *(
        Row(
            "gru_sequence",
            _cases(3, 1, lambda n, r=reset_after: (2, n) if r else (n,), reset_after=reset_after),
            values="unit",
            rtol=1e-5,
            atol=1e-6,
            dynamic=False,
        )
        for reset_after in (True, False)
    ),
]
