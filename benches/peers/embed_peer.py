"""A peer of embed.py: embeds texts with ONNX Runtime, fastembed or PyTorch.

    python embed_peer.py export FOLDER ONNX     # writes model.onnx and fused.onnx into the folder ONNX
    python embed_peer.py KIND FOLDER ONNX THREADS [--print]

Reads a number and as many texts from standard input, one per line, embeds them in one call and
prints the seconds that the call took. Repeats until the input ends. With --print, prints the
vectors instead.
"""

import json
import shutil
import sys
import time
from pathlib import Path


def export(folder, onnx):
    """Writes the encoder as an ONNX graph twice: as PyTorch exports it, and with the fusions of
    ONNX Runtime's own optimizer for transformers."""
    import torch
    from transformers import AutoModel

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

        def forward(self, input_ids, attention_mask, token_type_ids):
            ids = dict(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
            return self.encoder(**ids).last_hidden_state

    onnx.mkdir(parents=True, exist_ok=True)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    ids = torch.randint(1000, 2000, (2, 9))
    axes = {name: {0: "batch", 1: "tokens"} for name in [*names, "last_hidden_state"]}
    torch.onnx.export(
        Encoder(),
        (ids, torch.ones_like(ids), torch.zeros_like(ids)),
        str(onnx / "model.onnx"),
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes=axes,
        opset_version=14,
        dynamo=False,
    )
    from onnxruntime.transformers import optimizer

    fused = optimizer.optimize_model(str(onnx / "model.onnx"), "bert", num_heads=12, hidden_size=384)
    print(fused.get_fused_operator_statistics(), file=sys.stderr)
    fused.save_model_to_file(str(onnx / "fused.onnx"))
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]:
        if (folder / file).exists():
            shutil.copy(folder / file, onnx)


class OnnxRuntime:
    def __init__(self, folder, model, threads):
        import numpy
        import onnxruntime
        from tokenizers import Tokenizer

        self.numpy = numpy
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.enable_padding()

    def __call__(self, texts):
        numpy = self.numpy
        encoded = self.tokenizer.encode_batch(texts)
        ids = numpy.array([e.ids for e in encoded], dtype=numpy.int64)
        mask = numpy.array([e.attention_mask for e in encoded], dtype=numpy.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
        (hidden,) = self.session.run(None, feed)
        mask = mask[..., None].astype(numpy.float32)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        return mean / numpy.linalg.norm(mean, axis=1, keepdims=True)


class FastEmbed:
    def __init__(self, onnx, threads):
        from fastembed import TextEmbedding

        name = "sentence-transformers/all-MiniLM-L6-v2"
        self.model = TextEmbedding(name, specific_model_path=str(onnx), threads=threads)

    def __call__(self, texts):
        return list(self.model.embed(texts))


class Torch:
    def __init__(self, folder, threads):
        import torch
        from transformers import AutoModel, AutoTokenizer

        torch.set_num_threads(threads)
        self.torch = torch
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()

    def __call__(self, texts):
        encoded = self.tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
        with self.torch.inference_mode():
            hidden = self.model(**encoded).last_hidden_state
            mask = encoded["attention_mask"].unsqueeze(-1)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            return self.torch.nn.functional.normalize(mean)


def main():
    kind, folder, onnx = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if kind == "export":
        return export(folder, onnx)
    threads = int(sys.argv[4])
    makers = {
        "onnxruntime": lambda: OnnxRuntime(folder, onnx / "model.onnx", threads),
        "onnxruntime-fused": lambda: OnnxRuntime(folder, onnx / "fused.onnx", threads),
        "fastembed": lambda: FastEmbed(onnx, threads),
        "torch": lambda: Torch(folder, threads),
    }
    embed = makers[kind]()
    for count in sys.stdin:
        texts = [sys.stdin.readline().rstrip("\n") for _ in range(int(count))]
        start = time.perf_counter()
        vectors = embed(texts)
        seconds = time.perf_counter() - start
        if "--print" in sys.argv:
            print(json.dumps([float(x) for row in vectors for x in row]), flush=True)
        else:
            print(seconds, flush=True)


main()
