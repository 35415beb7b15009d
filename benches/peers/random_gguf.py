"""Writes a GGUF file of GPT-2's shape (124 M parameters) with random weights and no vocabulary.

Needs no package. Matrices are cut from one long row of random blocks, repeated: weights have the
standard deviation of GPT-2's initialisation, 0.02, and are otherwise meaningless.
"""

import os
import random
import struct

EMBED, LAYERS, VOCAB, CONTEXT, HEADS = 768, 12, 50_257, 1024, 12

# GGUF's type number, elements and bytes of a block, GGUF's file type.
TYPES = {
    "f32": (0, 1, 4, 0),
    "f16": (1, 1, 2, 1),
    "q4": (2, 32, 18, 2),  # Q4_0
    "q8": (8, 32, 34, 7),  # Q8_0
    "bf16": (30, 1, 2, 32),
    "q4_k": (12, 256, 144, 14),
    "q5_k": (13, 256, 176, 16),
    "q6_k": (14, 256, 210, 18),
}
# Mixtures: GGUF's file type, the format of most matrices, of the fused one, and of sensitive ones.
MIXTURES = {"q4_k_m": (15, "q4_k", "q5_k", "q6_k")}
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


def more_bits(layer):
    """Whether llama.cpp stores the sensitive matrices of a layer in more bits."""
    eighth = LAYERS // 8
    return layer < eighth or layer >= 7 * LAYERS // 8 or (layer - eighth) % 3 == 2


def tensors(name):
    """Names, shapes (rows last, as in GGUF) and types; norm weights are ones."""
    _, dtype, fused, sensitive = MIXTURES.get(name, (0, name, name, name))
    yield "token_embd.weight", (EMBED, VOCAB), sensitive
    yield "position_embd.weight", (EMBED, CONTEXT), "f32"
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for norm in ("attn_norm", "ffn_norm"):
            yield block + norm + ".weight", (EMBED,), "ones"
            yield block + norm + ".bias", (EMBED,), "f32"
        for name, outputs, inputs, kind in (
            ("attn_qkv", 3 * EMBED, EMBED, fused),
            ("attn_output", EMBED, EMBED, dtype),
            ("ffn_up", 4 * EMBED, EMBED, dtype),
            ("ffn_down", EMBED, 4 * EMBED, sensitive if more_bits(layer) else dtype),
        ):
            yield block + name + ".weight", (inputs, outputs), kind
            yield block + name + ".bias", (outputs,), "f32"
    yield "output_norm.weight", (EMBED,), "ones"
    yield "output_norm.bias", (EMBED,), "f32"


def text(value):
    value = value.encode()
    return struct.pack("<Q", len(value)) + value


def metadata(dtype):
    string = lambda key, value: text(key) + struct.pack("<I", 8) + text(value)
    number = lambda key, value: text(key) + struct.pack("<II", 4, value)
    return [
        string("general.architecture", "gpt2"),
        string("general.name", "random"),
        number("general.file_type", MIXTURES[dtype][0] if dtype in MIXTURES else TYPES[dtype][3]),
        number("gpt2.context_length", CONTEXT),
        number("gpt2.embedding_length", EMBED),
        number("gpt2.feed_forward_length", 4 * EMBED),
        number("gpt2.block_count", LAYERS),
        number("gpt2.attention.head_count", HEADS),
        text("gpt2.attention.layer_norm_epsilon") + struct.pack("<If", 6, 1e-5),
        number("gpt2.vocab_size", VOCAB),
        string("tokenizer.ggml.model", "no_vocab"),
    ]


def size(shape, dtype):
    _, block, width, _ = TYPES[dtype]
    elements = 1
    for n in shape:
        elements *= n
    return elements // block * width


def padded(n):
    return -(-n // ALIGNMENT) * ALIGNMENT


def write(path, dtype):
    """Writes the file atomically."""
    listed = list(tensors(dtype))
    stored = lambda kind: "f32" if kind == "ones" else kind
    entries = metadata(dtype)
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
