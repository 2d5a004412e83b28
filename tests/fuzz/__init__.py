"""A fuzzer: random operations on random arrays, eager against compiled and against NumPy.

    python -m tests.fuzz --cases 20000 --seed 1

`operations` is the table of what is called, `arrays` draws the arguments, `comparison` says when
two results agree, `limits` what a graph is known to compute otherwise, and `run` does it.
"""
