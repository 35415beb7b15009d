"""Makes the pictures of the README and the book that show `gpt` at work.

    python3 docs/pictures/make.py --gpt target/release/gpt --text shakespeare.txt

Runs the commands below and writes docs/src/pictures/terminal.svg, an animated recording of their
output, and docs/src/pictures/loss.svg, the curve that `gpt train` draws. The output is that of the
commands without some messages; its pace is set for reading. Training takes about a minute on two
cores.

speed.svg is drawn by benches/peers/compare.py: `--from FILE --chart docs/src/pictures/speed.svg`.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
import textwrap
from pathlib import Path
from xml.sax.saxutils import escape

PICTURES = Path(__file__).resolve().parent.parent / "src" / "pictures"

# As a user types them; `gpt` is replaced by the binary.
COMMANDS = [
    "gpt generate --prompt JULIET: --tokens 170",
    "gpt train --model nano --data shakespeare.txt --out run",
    "gpt generate --model nano --weights run --prompt ROMEO: --tokens 58",
]

COLUMNS, FONT, LINE, MARGIN = 96, 14, 20, 18
WIDTH = round(COLUMNS * FONT * 0.602) + 2 * MARGIN

# Seconds: between keys of a command, after a command, and between lines of output.
KEY, PAUSE, STEP = 0.03, 0.5, 0.16


def run(gpt, command, folder):
    """The lines of a command's output and messages, as they came."""
    arguments = [str(gpt), *command.split()[1:]]
    done = subprocess.run(
        arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    return done.stdout.rstrip("\n").split("\n")


# Messages that a reader of the picture can do without: they repeat, or describe this machine.
LEFT_OUT = re.compile(r": saved |^step \d+ of \d+: |^running on |tokens? read in")


def shorten(lines):
    """Without the messages that are left out, and wrapped as a terminal does."""
    lines = [line for line in lines if not LEFT_OUT.search(line)]
    return [part for line in lines for part in textwrap.wrap(line, COLUMNS) or [""]]


def recording(sessions):
    """An SVG whose lines appear one after another. Without animation all are visible."""
    elements, y, time = [], MARGIN + 30, 0.6

    def add(content, style, at):
        elements.append(
            f'<text class="{style}" x="{MARGIN}" y="{y}" style="animation-delay:{at:.2f}s">{escape(content)}</text>'
        )

    for command, lines in sessions:
        add(f"$ {command}", "c", time)
        y += LINE
        time += KEY * len(command) + PAUSE
        for line in lines:
            add(line, "o", time)
            y += LINE
            time += STEP
        y += LINE // 2
        time += PAUSE
    height = y + MARGIN - LINE // 2
    dots = "".join(
        f'<circle cx="{MARGIN + 8 + 20 * i}" cy="16" r="6" fill="{color}"/>'
        for i, color in enumerate(["#ff5f57", "#febc2e", "#28c840"])
    )
    style = (
        "text{font:14px 'DejaVu Sans Mono',Menlo,Consolas,monospace;white-space:pre}"
        ".c{fill:#8fd694;font-weight:bold}.o{fill:#e6e6e6}"
        "@media (prefers-reduced-motion:no-preference){text{opacity:0;animation:s .01s linear forwards}}"
        "@keyframes s{to{opacity:1}}"
    )
    body = "\n".join(elements)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" xml:space="preserve">\n'
        f"<style>{style}</style>\n"
        f'<rect width="{WIDTH}" height="{height}" rx="10" fill="#1d2026"/>\n{dots}\n{body}\n</svg>\n'
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpt", type=Path, required=True, help="the binary")
    parser.add_argument("--text", type=Path, required=True, help="tinyshakespeare")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        shutil.copy(arguments.text, folder / "shakespeare.txt")
        gpt = arguments.gpt.resolve()
        sessions = [(command, shorten(run(gpt, command, folder))) for command in COMMANDS]
        shutil.copy(folder / "run" / "loss.svg", PICTURES / "loss.svg")
    (PICTURES / "terminal.svg").write_text(recording(sessions), encoding="utf-8")


if __name__ == "__main__":
    main()
