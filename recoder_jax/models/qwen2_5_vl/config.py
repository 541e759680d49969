"""Sizes of a Qwen2.5-VL policy, their Hugging Face form, presets, parameter and FLOP counts."""

from __future__ import annotations

import dataclasses

WINDOW_PATCHES = 8  # a vision window is 8 x 8 patches
MERGE = 2  # 2 x 2 patches become one token
REMAT = ('none', 'blocks', 'attention')
ATTENTION = ('auto', 'xla', 'splash', 'cudnn', 'splash_interpret')


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """The vision tower. `output` is the width of the decoder; blocks not in `full_attention` attend inside windows."""

    depth: int = 32
    hidden: int = 1280
    heads: int = 16
    intermediate: int = 3420
    output: int = 3584
    full_attention: tuple[int, ...] = (7, 15, 23, 31)
    patch: int = 14
    temporal: int = 2
    channels: int = 3
    rope_theta: float = 10000.0
    eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    @property
    def patch_values(self) -> int:
        """Numbers in one patch vector."""
        return self.channels * self.temporal * self.patch * self.patch


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """The decoder. `mrope_section` gives the rotary frequencies of time, row and column; it sums to head_dim / 2."""

    vocab: int = 152064
    hidden: int = 3584
    layers: int = 28
    heads: int = 28
    kv_heads: int = 4
    intermediate: int = 18944
    mrope_section: tuple[int, int, int] = (16, 24, 24)
    rope_theta: float = 1e6
    eps: float = 1e-6
    tied: bool = False
    max_positions: int = 128000

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    @property
    def queries_per_kv(self) -> int:
        return self.heads // self.kv_heads


@dataclasses.dataclass(frozen=True)
class Config:
    """A policy: sizes, token ids, and how it is computed.

    `dtype` is the dtype of activations, `param_dtype` of weights ('float32' or 'bfloat16'). `remat`, one of REMAT, is what the
    backward pass computes again (`layers.rematerialized`); `attention`, one of ATTENTION, the backend (`attention.py`). `unroll`
    is the number of blocks per iteration of the layer loop.
    """

    vision: VisionConfig = VisionConfig()
    text: TextConfig = TextConfig()
    image_id: int = 151655
    video_id: int = 151656
    vision_start_id: int = 151652
    vision_end_id: int = 151653
    end_id: int = 151645
    pad_id: int = 151643
    dtype: str = 'bfloat16'
    param_dtype: str = 'bfloat16'
    remat: str = 'none'
    attention: str = 'auto'
    unroll: int = 1

    def __post_init__(self):
        problem = _contradiction(self)
        if problem:
            raise ValueError(problem)

    def replace(self, **changes) -> Config:
        """A copy with some fields changed, such as `config.replace(dtype='bfloat16', remat='blocks')`."""
        return dataclasses.replace(self, **changes)

    @staticmethod
    def from_hf(values: dict) -> Config:
        """Reads a Hugging Face config.json (flat as on the hub, or with `text_config`).

        Raises:
          ValueError: another model type, a quantised checkpoint, a missing size, or a size this model does not cover.
        """
        return _from_hf(values)

    def to_hf(self) -> dict:
        """The config.json that transformers and vLLM read (the hub's flat form)."""
        return _to_hf(self)

    def parameters(self) -> int:
        """Number of weights, vision tower included; a tied embedding counts once."""
        return self.text_parameters() + self.vision_parameters()

    def text_parameters(self) -> int:
        t = self.text
        return t.layers * self.block_parameters() + t.hidden + t.vocab * t.hidden * (1 if t.tied else 2)

    def block_parameters(self) -> int:
        """Of one block of the decoder."""
        t = self.text
        kv = t.kv_heads * t.head_dim
        attention = t.hidden * (2 * t.hidden + 2 * kv) + t.hidden + 2 * kv
        return attention + 3 * t.hidden * t.intermediate + 2 * t.hidden

    def vision_parameters(self) -> int:
        v = self.vision
        block = 4 * v.hidden**2 + 3 * v.hidden * v.intermediate + 2 * v.intermediate + 7 * v.hidden
        merged = v.hidden * MERGE**2
        merger = v.hidden + merged**2 + merged + merged * v.output + v.output
        return v.patch_values * v.hidden + v.depth * block + merger

    def flops_per_token(self, context: float, logits: bool = True) -> float:
        """Forward FLOPs of the decoder for one token that attends to `context` tokens (training: three times this).

        Two per multiply-add; embeddings, norms and softmax are not counted; `logits=False` leaves the head out.
        """
        t = self.text
        layer = t.hidden * (2 * t.hidden + 2 * t.kv_heads * t.head_dim) + 3 * t.hidden * t.intermediate
        attention = 2 * t.hidden * context
        return 2.0 * (t.layers * (layer + attention) + (t.vocab * t.hidden if logits else 0))

    def flops_per_image(self, patches: int) -> float:
        """Forward FLOPs of the vision tower and merger for one image of `patches` patches, padding not counted."""
        v = self.vision
        block = 4 * v.hidden**2 + 3 * v.hidden * v.intermediate
        window = 2 * v.hidden * min(patches, WINDOW_PATCHES**2)
        full = 2 * v.hidden * patches
        number_full = len(v.full_attention)
        attention = (v.depth - number_full) * window + number_full * full
        merged = v.hidden * MERGE**2
        merger = (merged**2 + merged * v.output) / MERGE**2
        return 2.0 * patches * (v.patch_values * v.hidden + v.depth * block + attention + merger)


def preset(name: str, vocab: int | None = None, image_id: int | None = None) -> Config:
    """One of 'tiny', '100m', '3b', '7b', '72b'; `vocab` and `image_id` replace the preset's (the tokenizer decides them).

    3b, 7b: the published configs. 72b: vision intermediate 3456. tiny: 1.3 M weights, 100m: 108 M, both float32,
    with the tiny tokenizer.
    """
    if name not in _presets():
        raise ValueError(f'Unknown policy size {name!r}; choose one of {", ".join(_presets())}.')
    config = _presets()[name]
    text = config.text if vocab is None else dataclasses.replace(config.text, vocab=vocab)
    return dataclasses.replace(config, text=text, image_id=config.image_id if image_id is None else image_id)


def _presets() -> dict[str, Config]:
    tiny = Config(
        VisionConfig(depth=4, hidden=64, heads=2, intermediate=192, output=128, full_attention=(1, 3)),
        TextConfig(
            vocab=1024, hidden=128, layers=4, heads=4, kv_heads=1, intermediate=384, mrope_section=(4, 6, 6), tied=True
        ),
        image_id=5, video_id=6, vision_start_id=3, vision_end_id=4, end_id=2, pad_id=0,
        dtype='float32', param_dtype='float32',
    )  # fmt: skip
    small = Config(
        VisionConfig(depth=8, hidden=512, heads=8, intermediate=1408, output=768, full_attention=(3, 7)),
        TextConfig(
            vocab=1024, hidden=768, layers=12, heads=12, kv_heads=4, intermediate=2048, mrope_section=(8, 12, 12), tied=True
        ),
        image_id=5, video_id=6, vision_start_id=3, vision_end_id=4, end_id=2, pad_id=0,
        dtype='float32', param_dtype='float32',
    )  # fmt: skip
    return {
        'tiny': tiny,
        '100m': small,
        '3b': Config(
            VisionConfig(output=2048),
            TextConfig(vocab=151936, hidden=2048, layers=36, heads=16, kv_heads=2, intermediate=11008, tied=True),
        ),
        '7b': Config(),
        '72b': Config(
            VisionConfig(intermediate=3456, output=8192),
            TextConfig(hidden=8192, layers=80, heads=64, kv_heads=8, intermediate=29568),
        ),
    }


def _contradiction(config: Config) -> str:
    """One sentence about the first contradiction in a config, '' when there is none."""
    v, t = config.vision, config.text
    if t.hidden % t.heads or t.heads % t.kv_heads:
        return f'Text hidden {t.hidden}, heads {t.heads} and kv heads {t.kv_heads} must divide each other in this order.'
    if 2 * sum(t.mrope_section) != t.head_dim:
        return f'mrope_section {t.mrope_section} must sum to half of the head size {t.head_dim}.'
    if v.hidden % v.heads or v.head_dim % 4:
        return f'Vision hidden {v.hidden} over {v.heads} heads must give a head size divisible by 4.'
    if v.output != t.hidden:
        return f'Vision output {v.output} must equal text hidden {t.hidden}.'
    if any(not 0 <= i < v.depth for i in v.full_attention):
        return f'Full attention blocks {v.full_attention} must lie in 0 to {v.depth - 1}.'
    if config.remat not in REMAT or config.attention not in ATTENTION:
        return (
            f'remat {config.remat!r} and attention {config.attention!r}: choose among {", ".join(REMAT)} and among '
            f'{", ".join(ATTENTION)}.'
        )
    for dtype in (config.dtype, config.param_dtype):
        if dtype not in ('float32', 'bfloat16'):
            return f"dtype {dtype!r} is not supported; use 'float32' or 'bfloat16'."
    if config.attention == 'cudnn' and config.dtype == 'float32':
        return "attention 'cudnn' computes in bfloat16 alone, and dtype is 'float32'; take attention 'xla' or 'auto', or dtype 'bfloat16'."
    return ''


def _from_hf(values: dict) -> Config:
    kind = values.get('model_type')
    if kind != 'qwen2_5_vl':
        raise ValueError(f"config.json has model_type {kind!r}; expected 'qwen2_5_vl'.")
    if values.get('quantization_config'):
        raise ValueError('The checkpoint is quantised (quantization_config in config.json); use the unquantised weights.')
    text = {**values, **(values.get('text_config') or {})}
    vision = values.get('vision_config') or {}
    rope = text.get('rope_parameters') or text.get('rope_scaling') or {}
    try:
        sizes = VisionConfig(
            depth=vision['depth'],
            hidden=vision['hidden_size'],
            heads=vision['num_heads'],
            intermediate=vision['intermediate_size'],
            output=vision['out_hidden_size'],
            full_attention=tuple(vision['fullatt_block_indexes']),
            patch=vision.get('patch_size', 14),
            temporal=vision.get('temporal_patch_size', 2),
            channels=vision.get('in_channels', vision.get('in_chans', 3)),
        )
        decoder = TextConfig(
            vocab=text['vocab_size'],
            hidden=text['hidden_size'],
            layers=text['num_hidden_layers'],
            heads=text['num_attention_heads'],
            kv_heads=text['num_key_value_heads'],
            intermediate=text['intermediate_size'],
            mrope_section=tuple(rope['mrope_section']),
            rope_theta=float(rope.get('rope_theta', text.get('rope_theta', 1e6))),
            eps=text.get('rms_norm_eps', 1e-6),
            tied=bool(values.get('tie_word_embeddings') or text.get('tie_word_embeddings')),
            max_positions=text.get('max_position_embeddings', 128000),
        )
    except KeyError as missing:
        raise ValueError(f'config.json lacks {missing.args[0]!r}; expected a Qwen2.5-VL config.') from None
    _refuse_variants(text, vision)
    dtype = values.get('dtype') or values.get('torch_dtype') or text.get('dtype') or 'bfloat16'
    dtype = 'bfloat16' if dtype == 'float16' else dtype
    return Config(
        sizes,
        decoder,
        image_id=values.get('image_token_id', 151655),
        video_id=values.get('video_token_id', 151656),
        vision_start_id=values.get('vision_start_token_id', 151652),
        vision_end_id=values.get('vision_end_token_id', 151653),
        end_id=_first(text.get('eos_token_id'), 151645),
        pad_id=_first(text.get('pad_token_id'), _first(text.get('bos_token_id'), 151643)),
        dtype=dtype,
        param_dtype=dtype,
    )


def _first(value: int | list[int] | None, default: int) -> int:
    """Token ids may be absent or lists in Hugging Face configs."""
    if value is None:
        return default
    return value[0] if isinstance(value, list) else value


def _refuse_variants(text: dict, vision: dict) -> None:
    """Raises ValueError for a config whose arithmetic this model does not have."""
    patch, merge = vision.get('patch_size', 14), vision.get('spatial_merge_size', MERGE)
    if merge != MERGE or vision.get('window_size', 112) != WINDOW_PATCHES * patch:
        raise ValueError(
            f'Vision merge size {merge} and window size {vision.get("window_size")} are not supported; '
            f'only {MERGE} and {WINDOW_PATCHES} patches.'
        )
    if text.get('use_sliding_window'):
        raise ValueError('use_sliding_window is true in config.json; only full attention is supported.')
    for name, act in (('text', text.get('hidden_act', 'silu')), ('vision', vision.get('hidden_act', 'silu'))):
        if act != 'silu':
            raise ValueError(f"The {name} activation {act!r} is not supported; only 'silu'.")


def _to_hf(config: Config) -> dict:
    v, t = config.vision, config.text
    return {
        'architectures': ['Qwen2_5_VLForConditionalGeneration'],
        'model_type': 'qwen2_5_vl',
        'attention_dropout': 0.0,
        'bos_token_id': config.pad_id,
        'eos_token_id': config.end_id,
        'pad_token_id': config.pad_id,
        'vision_start_token_id': config.vision_start_id,
        'vision_end_token_id': config.vision_end_id,
        'image_token_id': config.image_id,
        'video_token_id': config.video_id,
        'hidden_act': 'silu',
        'hidden_size': t.hidden,
        'initializer_range': 0.02,
        'intermediate_size': t.intermediate,
        'max_position_embeddings': t.max_positions,
        'max_window_layers': t.layers,
        'num_attention_heads': t.heads,
        'num_hidden_layers': t.layers,
        'num_key_value_heads': t.kv_heads,
        'rms_norm_eps': t.eps,
        'rope_theta': t.rope_theta,
        'rope_scaling': {'type': 'mrope', 'mrope_section': list(t.mrope_section)},
        'sliding_window': None,
        'use_sliding_window': False,
        'tie_word_embeddings': t.tied,
        'torch_dtype': config.param_dtype,
        'use_cache': True,
        'vocab_size': t.vocab,
        'vision_config': {
            'model_type': 'qwen2_5_vl',
            'depth': v.depth,
            'hidden_act': 'silu',
            'hidden_size': v.hidden,
            'intermediate_size': v.intermediate,
            'num_heads': v.heads,
            'in_channels': v.channels,
            'in_chans': v.channels,
            'out_hidden_size': v.output,
            'patch_size': v.patch,
            'spatial_patch_size': v.patch,
            'spatial_merge_size': MERGE,
            'temporal_patch_size': v.temporal,
            'window_size': WINDOW_PATCHES * v.patch,
            'fullatt_block_indexes': list(v.full_attention),
            'tokens_per_second': 2,
        },
    }
