"""Compiles the TPU's attention for topologies and prints bytes of temporaries: `python -m tests.aot_attention v5e:2x2,TENSOR,SEQUENCE ...`."""

import sys

from recoder_jax.planning.machines import devices_of, prepare_environment

prepare_environment("a topology")

import jax  # noqa: E402 after the environment
import jax.numpy as jnp  # noqa: E402

from recoder_jax.models.qwen2_5_vl.attention import image_attention, packed_attention  # noqa: E402
from recoder_jax.sharding import make_mesh, placement  # noqa: E402


def main(topology: str, tensor: int, sequence: int) -> None:
    mesh = make_mesh(fsdp=-1, tensor=tensor, sequence=sequence, devices=devices_of(topology))

    def like(shape, axes, dtype=jnp.bfloat16):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=placement(shape, axes, mesh))

    def packed(q, k, v, segment, prefix):
        return packed_attention(segment, prefix, "auto", q.dtype.name)(q, k, v).astype(jnp.float32).sum()

    def slots(q, k, v, valid):
        return image_attention(valid, "auto", q.dtype.name)(q, k, v).astype(jnp.float32).sum()

    rows, size = ("batch", "sequence"), (4, 2048)
    ids = like(size, rows, jnp.int32)
    keys = like((*size, 4, 128), (*rows, "kv_heads", None))
    image = like((4, 1024, 16, 80), ("batch", None, "heads", None))
    with jax.set_mesh(mesh):
        for function, arguments in (
            (packed, (like((*size, 4, 7, 128), (*rows, "kv_heads", None, None)), keys, keys, ids, ids)),
            (slots, (image, image, image, like((4, 1024), ("batch", None), jnp.bool_))),
        ):
            compiled = jax.jit(jax.grad(function, argnums=(0, 1, 2))).lower(*arguments).compile()
            assert "tpu_custom_call" in compiled.as_text()
            print(topology, function.__name__, compiled.memory_analysis().temp_size_in_bytes)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        name, *sizes = argument.split(",")
        main(name, *map(int, sizes))
