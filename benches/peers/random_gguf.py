"""Writes a GGUF file of the shape of GPT-2 (124 M parameters) or Qwen2.5-0.5B, with random weights
and no vocabulary.

Needs no package. Matrices are cut from a repeated pool of random blocks: weights have the standard
deviation of GPT-2's initialisation, 0.02, and are otherwise meaningless.
"""

import os
import random
import struct


class Shape:
    """The sizes of a model."""

    def __init__(self, vocab, context, layers, heads, kv_heads, embed, hidden):
        self.vocab, self.context, self.layers = vocab, context, layers
        self.heads, self.kv_heads = heads, kv_heads
        self.embed, self.hidden = embed, hidden


SHAPES = {
    "gpt2": Shape(50_257, 1024, 12, 12, 12, 768, 3072),
    "qwen2-0.5b": Shape(151_936, 32_768, 24, 14, 2, 896, 4864),
}

# GGUF's type number, elements and bytes of a block, GGUF's file type.
TYPES = {
    "f32": (0, 1, 4, 0),
    "f16": (1, 1, 2, 1),
    "q4": (2, 32, 18, 2),  # Q4_0
    "q5": (6, 32, 22, 8),  # Q5_0
    "q8": (8, 32, 34, 7),  # Q8_0
    "bf16": (30, 1, 2, 32),
    "q4_k": (12, 256, 144, 14),
    "q5_k": (13, 256, 176, 16),
    "q6_k": (14, 256, 210, 18),
}
# Mixtures: GGUF's file type, and the formats of most matrices, of the fused one (queries, keys and
# values), and of sensitive ones.
MIXTURES = {"q4_k_m": (15, "q4_k", "q5_k", "q6_k")}
# What llama.cpp stores instead of a k-quant if a row is not a whole number of its blocks.
NARROW = {"q4_k": "q5", "q6_k": "q8"}
ALIGNMENT = 32
DEVIATION = 0.02


def half(number):
    return struct.pack("<e", number)


def pool(dtype):
    """About 64 thousand encoded elements; the number of blocks is prime, so that rows differ."""
    if dtype == "q8":
        scale = half(DEVIATION / 73.6)  # the standard deviation of uniform bytes
        return b"".join(scale + os.urandom(32) for _ in range(2039))
    if dtype == "q4":
        scale = half(DEVIATION / 4.6)
        return b"".join(scale + os.urandom(16) for _ in range(2039))
    if dtype == "q5":
        scale = half(DEVIATION / 9.2)
        return b"".join(scale + os.urandom(20) for _ in range(2039))
    if dtype in ("q4_k", "q5_k"):
        # Fine scales and minima are around 32, and the minimum is about half of the range.
        largest, width = {"q4_k": (15, 128), "q5_k": (31, 160)}[dtype]
        scale = DEVIATION / (0.3 * largest) / 32
        opening = half(scale) + half(scale * largest / 2)
        return b"".join(opening + os.urandom(12 + width) for _ in range(257))
    if dtype == "q6_k":
        scale = half(DEVIATION / 18.5 / 73.6)
        return b"".join(os.urandom(208) + scale for _ in range(257))
    draw = random.Random(0)
    numbers = [draw.gauss(0.0, DEVIATION) for _ in range(65_521)]
    if dtype == "f32":
        return struct.pack(f"<{len(numbers)}f", *numbers)
    if dtype == "f16":
        return struct.pack(f"<{len(numbers)}e", *numbers)
    return b"".join(struct.pack("<f", number)[2:] for number in numbers)


def more_bits(layer, layers):
    """Whether llama.cpp stores the sensitive matrices of a layer in more bits."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def stored_as(kind, inputs):
    """The format of a matrix whose rows have `inputs` elements."""
    return NARROW.get(kind, kind) if inputs % TYPES[kind][1] else kind


def gpt2(shape, name):
    """Names, shapes (rows last, as in GGUF) and types; norm weights are ones."""
    _, dtype, fused, sensitive = MIXTURES.get(name, (0, name, name, name))
    embed, hidden = shape.embed, shape.hidden
    yield "token_embd.weight", (embed, shape.vocab), sensitive
    yield "position_embd.weight", (embed, shape.context), "f32"
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        down = sensitive if more_bits(layer, shape.layers) else dtype
        for norm in ("attn_norm", "ffn_norm"):
            yield block + norm + ".weight", (embed,), "ones"
            yield block + norm + ".bias", (embed,), "f32"
        for name, outputs, inputs, kind in (
            ("attn_qkv", 3 * embed, embed, fused),
            ("attn_output", embed, embed, dtype),
            ("ffn_up", hidden, embed, dtype),
            ("ffn_down", embed, hidden, down),
        ):
            yield block + name + ".weight", (inputs, outputs), kind
            yield block + name + ".bias", (outputs,), "f32"
    yield "output_norm.weight", (embed,), "ones"
    yield "output_norm.bias", (embed,), "f32"


def qwen2(shape, name):
    """Like `gpt2`."""
    _, dtype, _, sensitive = MIXTURES.get(name, (0, name, name, name))
    embed, hidden = shape.embed, shape.hidden
    keys = embed // shape.heads * shape.kv_heads
    yield "token_embd.weight", (embed, shape.vocab), stored_as(sensitive, embed)
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        more = sensitive if more_bits(layer, shape.layers) else dtype
        for norm in ("attn_norm", "ffn_norm"):
            yield block + norm + ".weight", (embed,), "ones"
        for name, outputs, inputs, kind in (
            ("attn_q", embed, embed, dtype),
            ("attn_k", keys, embed, dtype),
            ("attn_v", keys, embed, more),
            ("attn_output", embed, embed, dtype),
            ("ffn_gate", hidden, embed, dtype),
            ("ffn_up", hidden, embed, dtype),
            ("ffn_down", embed, hidden, more),
        ):
            yield block + name + ".weight", (inputs, outputs), stored_as(kind, inputs)
            if name in ("attn_q", "attn_k", "attn_v"):
                yield block + name + ".bias", (outputs,), "f32"
    yield "output_norm.weight", (embed,), "ones"


def text(value):
    value = value.encode()
    return struct.pack("<Q", len(value)) + value


def metadata(model, dtype):
    string = lambda key, value: text(key) + struct.pack("<I", 8) + text(value)
    number = lambda key, value: text(key) + struct.pack("<II", 4, value)
    fraction = lambda key, value: text(key) + struct.pack("<If", 6, value)
    shape, family = SHAPES[model], model.split("-")[0]
    entries = [
        string("general.architecture", family),
        string("general.name", "random"),
        number("general.file_type", MIXTURES[dtype][0] if dtype in MIXTURES else TYPES[dtype][3]),
        number(f"{family}.context_length", shape.context),
        number(f"{family}.embedding_length", shape.embed),
        number(f"{family}.feed_forward_length", shape.hidden),
        number(f"{family}.block_count", shape.layers),
        number(f"{family}.attention.head_count", shape.heads),
        number(f"{family}.vocab_size", shape.vocab),
        string("tokenizer.ggml.model", "no_vocab"),
    ]
    if family == "gpt2":
        return [*entries, fraction("gpt2.attention.layer_norm_epsilon", 1e-5)]
    return [
        *entries,
        number("qwen2.attention.head_count_kv", shape.kv_heads),
        fraction("qwen2.attention.layer_norm_rms_epsilon", 1e-6),
        fraction("qwen2.rope.freq_base", 1_000_000.0),
    ]


def size(shape, dtype):
    _, block, width, _ = TYPES[dtype]
    elements = 1
    for n in shape:
        elements *= n
    return elements // block * width


def padded(n):
    return -(-n // ALIGNMENT) * ALIGNMENT


def write(path, model, dtype):
    """Writes the file atomically."""
    tensors = {"gpt2": gpt2, "qwen2": qwen2}[model.split("-")[0]]
    listed = list(tensors(SHAPES[model], dtype))
    stored = lambda kind: "f32" if kind == "ones" else kind
    entries = metadata(model, dtype)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(listed), len(entries)) + b"".join(entries)
    offset = 0
    for name, shape, kind in listed:
        kind = stored(kind)
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", TYPES[kind][0], offset)
        offset += padded(size(shape, kind))
    pools = {kind: pool(kind) for kind in {stored(kind) for _, _, kind in listed}}
    unfinished = path.with_suffix(".unfinished")
    with open(unfinished, "wb") as out:
        out.write(head.ljust(padded(len(head)), b"\0"))
        for number, (_, shape, kind) in enumerate(listed):
            n = size(shape, stored(kind))
            if kind == "ones":
                data = struct.pack("<f", 1.0) * (n // 4)
            else:
                source, width = pools[kind], TYPES[kind][2]
                first = number * 4099 * width % len(source)
                source = source[first:] + source[:first]
                data = (source * (n // len(source) + 1))[:n]
            out.write(data.ljust(padded(n), b"\0"))
    os.replace(unfinished, path)
