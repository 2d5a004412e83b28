"""A fuzzer of models: random models, random sequences of actions, results against eager Keras.

    python -m tests.model_fuzz --cases 300 --seed 1

`plan` draws a case from a seed; `of_layers`, `of_graphs` and `own` are what models are made of, and
`build` makes one. `looks` are the actions that give results, `changes` those that change the model
or what surrounds it; `session` has both done and compares. `limits` says what is known to differ,
`shrink` makes a failing case smaller, and `run` does it.
"""
