#!/usr/bin/env python3
"""What --memory says against what a worker takes: one line for each budget and grid.

  memory.py [--plugins DIR] [--harness FILE] MODEL BUDGET...        such as: memory.py ./smollm2 800M 1G 2G

MODEL is a checkpoint folder of the llama family (gguf_to_checkpoint.py makes one). SAEs with random numbers and a text are made
in a temporary folder. The peak is the most that the worker's memory was at any of its looks, every 5 ms: all of it (VmHWM), and
what is its own, without the libraries and files that it has mapped. Needs numpy and safetensors."""
import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
from safetensors.numpy import save_file

# Layers, latents, budgets k and tokens of a row; the text is long enough for several batches.
GRIDS = {
    "one SAE": dict(layers=[15], d_sae=4096, k=[32], context=512),
    "six SAEs": dict(layers=[5, 15, 25], d_sae=4096, k=[32, 64], context=512),
    "wide": dict(layers=[10, 20], d_sae=16384, k=[64], context=256),
    "long rows": dict(layers=[15], d_sae=4096, k=[32], context=2048),
}
MIB = 1 << 20


def make_saes(folder, width, grid):
    """Random SAEs in the layout of SAELens."""
    rng = np.random.default_rng(1)
    for layer in grid["layers"]:
        for number, k in enumerate(grid["k"]):
            place = os.path.join(folder, f"resid_post_layer_{layer}", f"trainer_{number}")
            os.makedirs(place)
            w_dec = rng.standard_normal((grid["d_sae"], width), dtype=np.float32)
            w_dec /= np.linalg.norm(w_dec, axis=1, keepdims=True)
            save_file({
                "W_dec": w_dec,
                "W_enc": np.ascontiguousarray(w_dec.T),
                "b_dec": np.zeros(width, np.float32),
                "b_enc": np.zeros(grid["d_sae"], np.float32),
            }, os.path.join(place, "sae_weights.safetensors"))
            config = {"architecture": "topk", "d_in": width, "d_sae": grid["d_sae"], "k": k, "dtype": "float32",
                      "apply_b_dec_to_input": True, "metadata": {"hook_name": f"blocks.{layer}.hook_resid_post"}}
            with open(os.path.join(place, "cfg.json"), "w", encoding="utf-8") as file:
                json.dump(config, file)


def make_text(path, rows, context):
    """As many documents as rows, each longer than one."""
    rng = random.Random(1)
    known = "the rain had stopped before she came to old house and nobody there could say why of it was so late".split()
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(rows):
            json.dump({"text": " ".join(rng.choice(known) for _ in range(2 * context))}, file)
            file.write("\n")


def status(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            text = file.read()
    except OSError:
        return {}
    return {name: int(kb) * 1024 for name, kb in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.M)}


def workers(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def measure(command):
    """(exit code, last line of stderr, peak of all, peak of its own) of a command's workers."""
    with tempfile.TemporaryFile() as err:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=err)
        all_of_it = own = 0
        while child.poll() is None:
            for pid in workers(child.pid):
                found = status(pid)
                all_of_it = max(all_of_it, found.get("VmHWM", 0))
                own = max(own, found.get("RssAnon", 0) + found.get("RssShmem", 0))
            time.sleep(0.005)
        err.seek(0)
        said = err.read().decode("utf-8", "replace").strip().splitlines()
    return child.returncode, said[-1] if said else "", all_of_it, own


def size(text):
    return int(text[:-1]) << {"M": 20, "G": 30}[text[-1]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("budgets", nargs="+", metavar="BUDGET")
    parser.add_argument("--plugins", default="plugins")
    parser.add_argument("--harness", default="target/release/harness")
    parser.add_argument("--grid", action="append", choices=GRIDS, help="only these grids")
    parser.add_argument("--rows", type=int, default=16, help="rows of text [default: 16, two batches]")
    parser.add_argument("--dtype", default="f32")
    args = parser.parse_args()
    with open(os.path.join(args.model, "config.json"), encoding="utf-8") as file:
        width = json.load(file)["hidden_size"]
    print("| grid | budget, MiB | peak, MiB | of its own, MiB | share of the budget |")
    print("|---|---|---|---|---|")
    over = False
    for name in args.grid or GRIDS:
        grid = GRIDS[name]
        with tempfile.TemporaryDirectory() as scratch:
            saes, text = os.path.join(scratch, "saes"), os.path.join(scratch, "text.jsonl")
            make_saes(saes, width, grid)
            make_text(text, 2 * args.rows, grid["context"])
            for budget in args.budgets:
                command = [args.harness, "bench", "fidelity", "--plugins", args.plugins, "--rows", "llama"]
                command += ["--model", f"llama={args.model}", "--saes", f"llama={saes}", "--data", text]
                command += ["--layers", ",".join(map(str, grid["layers"])), "--k", ",".join(map(str, grid["k"]))]
                command += ["--context-length", str(grid["context"]), "--documents", "truncate"]
                command += ["--budget-tokens", str(args.rows * grid["context"]), "--workers", "1", "--dtype", args.dtype]
                command += ["--memory", budget, "--out", os.path.join(scratch, "out" + budget)]
                code, said, peak, own = measure(command)
                share = peak / size(budget)
                if code:
                    print(f"| {name} | {size(budget) // MIB} | exit {code}: {said} | | |", flush=True)
                    continue
                over |= share > 1.05
                print(f"| {name} | {size(budget) // MIB} | {peak // MIB} | {own // MIB} | {share:.2f} |", flush=True)
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
