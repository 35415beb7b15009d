"""How long a training step takes in PyTorch: the peer of `gpt bench --train`, to be run on the same machine, one after the other.

    python benches/peers/torch_train.py [nano] [gpt2] [--threads 2] [--reps 5]

A GPT written as plainly and as fast as PyTorch lets it be: fused attention, one matrix for queries, keys and values, AdamW in its fused
form; eager, f32. `nano` is nanoGPT's configuration for CPUs (4 layers, 4 heads, 128 wide, no biases, vocabulary 65, batch 12 of 64 tokens), `gpt2`
is the 124M model with a batch of 4 times 64 tokens. A step is everything from tokens to moved weights, clipping included. Prints one JSON object for each:
the median of the repetitions, each of at least a second, with the least and the most. Its threads wait for each other by spinning, so
anything else that runs makes it slower many times over: leave the machine alone meanwhile.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

MODELS = {
    "nano": dict(vocab=65, context=64, layers=4, heads=4, width=128, bias=False, batch=12, tokens=64),
    "gpt2": dict(vocab=50_257, context=1024, layers=12, heads=12, width=768, bias=True, batch=4, tokens=64),
}


class Block(nn.Module):
    def __init__(self, width, heads, bias):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width, bias=bias), nn.LayerNorm(width, bias=bias)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=bias), nn.Linear(width, width, bias=bias)
        self.up, self.down = nn.Linear(width, 4 * width, bias=bias), nn.Linear(4 * width, width, bias=bias)

    def forward(self, x):
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.qkv(self.norm_1(x)).chunk(3, -1))
        gathered = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(gathered.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, vocab, context, layers, heads, width, bias, **_):
        super().__init__()
        self.embedding, self.positions = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads, bias) for _ in range(layers)))
        self.norm = nn.LayerNorm(width, bias=bias)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens):
        x = self.embedding(tokens) + self.positions.weight[: tokens.shape[1]]
        return F.linear(self.norm(self.blocks(x)), self.embedding.weight)


def measure(name, reps):
    shape = MODELS[name]
    batch, tokens = shape["batch"], shape["tokens"]
    model = Gpt(**shape)
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() == 2], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)

    def step():
        text = torch.randint(0, shape["vocab"], (batch, tokens + 1))
        logits = model(text[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return loss.item()

    for _ in range(3):
        step()
    times = []
    for _ in range(reps):
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < 1.0 or steps < 3:
            step()
            steps += 1
        times.append((time.perf_counter() - start) / steps)
    spread = lambda values: dict(median=statistics.median(values), min=min(values), max=max(values))
    result = {
        "model": name,
        "train": f"{batch}x{tokens}",
        "train_tok_s": spread([batch * tokens / t for t in times]),
        "step_ms": spread([1000 * t for t in times]),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(json.dumps(result), flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("models", nargs="*", default=list(MODELS))
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--reps", type=int, default=5)
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)
torch.manual_seed(0)
for name in arguments.models:
    measure(name, arguments.reps)
