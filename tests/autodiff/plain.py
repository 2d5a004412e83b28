"""Control flow as plain Python over jax.numpy: what the gradients of ours are compared with."""

import jax
import jax.numpy as jnp


class Plain:
    """`keras.ops` of control flow, and jax.numpy for everything else."""

    def __getattr__(self, name):
        return getattr(jnp, name)

    @staticmethod
    def cond(pred, true_fn, false_fn):
        return true_fn() if pred else false_fn()

    @staticmethod
    def switch(index, branches, *operands):
        return branches[min(max(int(index), 0), len(branches) - 1)](*operands)

    @staticmethod
    def while_loop(cond, body, state, maximum_iterations=None):
        done = 0
        while cond(*state) and (maximum_iterations is None or done < maximum_iterations):
            state = body(*state)
            done += 1
        return state

    @staticmethod
    def fori_loop(lower, upper, body, state):
        for i in range(int(lower), int(upper)):
            state = body(jnp.asarray(i), state)
        return state

    @staticmethod
    def scan(f, state, xs=None, length=None, reverse=False):
        count = length if xs is None else jax.tree.leaves(xs)[0].shape[0]
        ys = []
        for i in reversed(range(count)) if reverse else range(count):
            state, y = f(state, None if xs is None else jax.tree.map(lambda x, i=i: x[i], xs))
            ys.append(y)
        ys = ys[::-1] if reverse else ys
        return state, jax.tree.map(lambda *rows: jnp.stack(rows), *ys)

    def map(self, f, xs):
        return self.scan(lambda _, x: ((), f(x)), (), xs)[1]

    vectorized_map = map

    @staticmethod
    def cast(x, dtype):
        return x.astype(dtype)

    @staticmethod
    def stop_gradient(x):
        return jax.lax.stop_gradient(x)

    @staticmethod
    def associative_scan(f, xs):
        return jax.lax.associative_scan(f, xs)
