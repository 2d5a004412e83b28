"""Small random Stable Diffusion 3 tasks, and what their `generate_step` makes of given noise.

Runs under any backend of Keras, in a process of its own for the reference:

    KERAS_BACKEND=torch python tests/generate/images.py reference.npz
"""

import sys

import numpy as np

TASKS = ("TextToImage", "ImageToImage", "Inpaint")
SIZE, STEPS = 32, 3


def backbone_of():
    from keras_hub.models import CLIPTextEncoder, StableDiffusion3Backbone
    from keras_hub.src.models.vae.vae_backbone import VAEBackbone  # it has no public name

    def encoder(name, activation):
        return CLIPTextEncoder(20, 32, 32, 2, 2, 64, activation, -2, dtype="float32", name=name)

    return StableDiffusion3Backbone(
        mmdit_patch_size=2, mmdit_hidden_dim=32, mmdit_num_layers=2, mmdit_num_heads=2,
        mmdit_position_size=192, mmdit_qk_norm=None, mmdit_dual_attention_indices=None,
        vae=VAEBackbone([32] * 4, [1] * 4, [32] * 4, [1] * 4, sampler_method="mode", name="vae"),
        clip_l=encoder("clip_l", "quick_gelu"), clip_g=encoder("clip_g", "gelu"),
        image_shape=(SIZE, SIZE, 3), dtype="float32",
    )  # fmt: skip


def model_of(task, seed=0):
    """A task with weights drawn from `seed`, the same under every backend."""
    import keras_hub

    model = getattr(keras_hub.models, f"StableDiffusion3{task}")(backbone_of(), preprocessor=None)
    draw = np.random.default_rng(seed)
    for variable in sorted(model.weights, key=lambda v: v.path):
        if variable.dtype != "float32":
            continue
        noise = draw.standard_normal(tuple(variable.shape), np.float32)
        if len(variable.shape) > 1:
            variable.assign(noise / np.sqrt(np.prod(variable.shape[:-1])))
        else:
            variable.assign(np.asarray(variable) + 0.1 * noise)
    return model


def tokens(ids):
    return {name: np.array([ids, ids[::-1]], np.int32) for name in ("clip_l", "clip_g")}


def inputs(task):
    """As of `generate`."""
    found = {"prompts": tokens([1, 3, 5, 7, 2]), "negative_prompts": tokens([2, 2, 2, 2, 2])}
    draw = np.random.default_rng(1)
    if task != "TextToImage":
        found["images"] = draw.uniform(-1, 1, (2, SIZE, SIZE, 3)).astype(np.float32)
    if task == "Inpaint":
        found["masks"] = np.tile(np.arange(SIZE) > 12, (2, SIZE, 1)).astype(np.float32)
    return found


def arguments(model, task):
    """As of `generate_step`, with noise of NumPy's."""
    from keras import ops

    given = inputs(task)
    noise = np.random.default_rng(2).standard_normal((2, *model.latent_shape[1:]), np.float32)
    text = (given["prompts"], given["negative_prompts"])
    number = lambda n, kind: ops.convert_to_tensor(n, kind)
    ends = (number(STEPS, "int32"), number(4.0, "float32"))
    made = [given[name] for name in ("images", "masks") if name in given]
    first = () if task == "TextToImage" else (number(1, "int32"),)
    model.backbone.configure_scheduler(STEPS)
    return [*made, noise, text, *first, *ends]


def made(task):
    """The image of `generate_step`."""
    import keras

    model = model_of(task)
    result = model.make_generate_function()(
        *keras.tree.map_structure(keras.ops.convert_to_tensor, arguments(model, task))
    )
    return keras.ops.convert_to_numpy(result)


if __name__ == "__main__":
    np.savez(sys.argv[1], **{task: made(task) for task in TASKS})
