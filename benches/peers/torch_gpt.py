"""PyTorch's part of compare.py: inference with transformers' GPT-2, training in plain PyTorch.

    python torch_gpt.py infer --dtype f32 --prefill 512 --decode 64 --threads 2
    python torch_gpt.py train --model nano --dtype f32 --shape 12x64 --threads 2

Training uses a plain GPT with PyTorch's fast paths in eager mode: fused attention, one matrix for
queries, keys and values, fused AdamW. bf16 is autocast as in nanoGPT, with f32 parameters. A step
is everything from tokens to updated weights, including clipping. Prints one JSON object.

PyTorch's threads spin while they wait for each other, so any other process slows PyTorch down by a
large factor.
"""

import argparse
import contextlib
import json
import time

import torch
from torch import nn
from torch.nn import functional as F

MODELS = {
    "nano": dict(vocab=65, context=64, layers=4, heads=4, width=128, bias=False, gelu="none"),
    "gpt2": dict(vocab=50_257, context=1024, layers=12, heads=12, width=768, bias=True, gelu="tanh"),
}
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


class Block(nn.Module):
    def __init__(self, width, heads, bias, gelu):
        super().__init__()
        self.heads, self.gelu = heads, gelu
        self.norm_1, self.norm_2 = nn.LayerNorm(width, bias=bias), nn.LayerNorm(width, bias=bias)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=bias), nn.Linear(width, width, bias=bias)
        self.up, self.down = nn.Linear(width, 4 * width, bias=bias), nn.Linear(4 * width, width, bias=bias)

    def forward(self, x):
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.qkv(self.norm_1(x)).chunk(3, -1))
        gathered = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(gathered.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate=self.gelu))


class Gpt(nn.Module):
    def __init__(self, vocab, context, layers, heads, width, bias, gelu):
        super().__init__()
        self.embedding, self.positions = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads, bias, gelu) for _ in range(layers)))
        self.norm = nn.LayerNorm(width, bias=bias)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens):
        x = self.embedding(tokens) + self.positions.weight[: tokens.shape[1]]
        return F.linear(self.norm(self.blocks(x)), self.embedding.weight)


def train(arguments):
    """Tokens per second over at least a second and three steps, after three warm-up steps."""
    shape = MODELS[arguments.model]
    batch, tokens = map(int, arguments.shape.split("x"))
    model = Gpt(**shape)
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() == 2], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)
    mixed = arguments.dtype != "f32"
    cast = torch.autocast("cpu", TYPES[arguments.dtype]) if mixed else contextlib.nullcontext()

    def step():
        text = torch.randint(0, shape["vocab"], (batch, tokens + 1))
        with cast:
            logits = model(text[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return loss.item()

    for _ in range(3):
        step()
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < 1.0 or steps < 3:
        step()
        steps += 1
    return {"train": steps * batch * tokens / (time.perf_counter() - start)}


def infer(arguments):
    """Tokens per second of a prompt with its last logits, and of decoding from an empty cache."""
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config()).to(TYPES[arguments.dtype]).eval()
    prompt = torch.randint(0, 50_257, (1, arguments.prefill))

    def prefill(tokens):
        return model(tokens, use_cache=True, logits_to_keep=1)

    def decode(n):
        cache = None
        for i in range(n):
            cache = model(prompt[:, i : i + 1], past_key_values=cache, use_cache=True).past_key_values

    with torch.inference_mode():
        prefill(prompt)
        start = time.perf_counter()
        prefill(prompt)
        middle = time.perf_counter()
        decode(4)
        later = time.perf_counter()
        decode(arguments.decode)
        end = time.perf_counter()
    return {"prefill": arguments.prefill / (middle - start), "decode": arguments.decode / (end - later)}


parser = argparse.ArgumentParser()
parser.add_argument("what", choices=["infer", "train"])
parser.add_argument("--model", choices=list(MODELS), default="gpt2")
parser.add_argument("--dtype", choices=list(TYPES), default="f32")
parser.add_argument("--shape", default="4x64")
parser.add_argument("--prefill", type=int, default=512)
parser.add_argument("--decode", type=int, default=64)
parser.add_argument("--threads", type=int, default=2)
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)
torch.manual_seed(0)
print(json.dumps(infer(arguments) if arguments.what == "infer" else train(arguments)))
