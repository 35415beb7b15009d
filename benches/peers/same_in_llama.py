"""Compares gpt and llama.cpp on a GGUF that `gpt convert` wrote: their tokens and their logits.

    python3 benches/peers/same_in_llama.py [--gpt GPT] [--bound X] MODEL.gguf TEXT_FILE

Needs `pip install llama-cpp-python`, which builds it from source: that takes a C++ compiler and
minutes. Both programs read the same file and encode each line of TEXT_FILE. The logits of each
token of the first lines (up to --tokens tokens) are compared by their normalised mean square error:
the sum of squared differences over the sum of squares. Exits with 1 if the tokens of a line differ,
or if the error is above --bound.

llama.cpp rounds f32 activations to f16 in attention and to q8 before quantised products, so the
bound is looser than between our own engines: 1e-5 for files in f32.
"""

import argparse
import json
import subprocess
import sys

import llama_cpp


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stderr.strip()}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def ours(gpt, model, lines):
    """The tokens of each line."""
    command = [gpt, "logits", "--weights", model, "--last", "--json", "--prompt"]
    return [run(*command, line)["ids"] for line in lines]


def nmse(a, b):
    errors = sum((x - y) ** 2 for x, y in zip(a, b))
    return errors / sum(y * y for y in b)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--gpt", default="target/release/gpt")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--bound", type=float, default=1e-5)
    arguments = parser.parse_args()
    with open(arguments.text, encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file if line.strip()]
    peer = llama_cpp.Llama(
        arguments.model, n_ctx=arguments.tokens, logits_all=True, verbose=False, n_gpu_layers=0
    )
    ids, wrong = [], 0
    for line, expected in zip(lines, ours(arguments.gpt, arguments.model, lines)):
        found = peer.tokenize(line.encode(), add_bos=True, special=False)
        if found != expected:
            wrong += 1
            print(f"other tokens for {line!r}:\n  gpt       {expected}\n  llama.cpp {found}")
        ids += expected
    ids = ids[: arguments.tokens]
    listed = ",".join(map(str, ids))
    logits = run(arguments.gpt, "logits", "--weights", arguments.model, "--ids", listed, "--json")["logits"]
    peer.reset()
    peer.eval(ids)
    vocab = peer.n_vocab()
    error = max(nmse(peer.scores[i][:vocab], row) for i, row in enumerate(logits))
    print(f"{len(lines)} lines, {wrong} with other tokens; {len(ids)} tokens, NMSE at most {error:.1e}")
    sys.exit(1 if wrong or not error <= arguments.bound else 0)


if __name__ == "__main__":
    main()
