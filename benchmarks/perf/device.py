#!/usr/bin/env python3
"""What the harness does on a device, and how fast: one command, at most eight minutes on one GPU.

  device.py [--device cuda:0] [--size SIZE] [--out DIR] [--parts a,b] [--harness FILE]

Each part has its own time, is written to DIR/device.json when it ends, and stops no other one when
it fails. The benches run on weights drawn on the device: a model of Dream-7B's shape and SAEs of
16,384 latents, or with `--small` a model that any machine can hold. Beside each of them the same
work is done by the plain torch loops of peer.py. The table goes to standard output and to
DIR/device.md. Needs the torch of the Python it runs with, and the standard library.

Ends with 1 where a part failed or ran out of its time, and with 0 where the others were skipped."""
import argparse
import dataclasses
import importlib.util
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time

# Nothing is left beside the programs.
sys.dont_write_bytecode = True

import folders
from limits import Clock, Failed, Skipped, check, last_lines, run
from report import Record, Row
from results import Steps, beyond_two_errors, cell_seconds, read_json, warm_seconds

HERE = os.path.dirname(os.path.abspath(__file__))
# That of the repository or of the unpacked bundle that this file lies in.
HARNESS = os.path.join(os.path.dirname(os.path.dirname(HERE)), "target", "release", "harness")
# Seconds of everything together. The small size takes about a minute of a processor's time; the
# rest is for machines that do something else as well.
TOTAL_S = {"full": 480, "medium": 1800, "small": 240}
PREFIXES = 5
QUESTIONS = 4
ORDERS = ("origin", "topk_margin", "entropy")


@dataclasses.dataclass(frozen=True)
class Size:
    """How much work the benches are given."""

    shape: folders.Shape
    layer: int
    features: int
    steps: int
    rows: int
    length: int
    answer_steps: int
    train_seconds: float
    peer_train_seconds: float
    train_batch: int
    train_buffer: int
    feature_tokens: int


FULL = Size(folders.FULL, 14, 100, 30, 8, 2048, 128, 60.0, 15.0, 2048, 32768, 32768)
MEDIUM = Size(folders.MEDIUM, 14, 4, 30, 16, 256, 32, 20.0, 15.0, 2048, 16384, 8192)
SMALL = Size(folders.SMALL, 1, 4, 6, 2, 128, 8, 5.0, 5.0, 256, 4096, 8192)
SIZES = {"full": FULL, "medium": MEDIUM, "small": SMALL}
# How many times the seconds of a part at small size it has at medium size: for processors alone.
MEDIUM_FACTOR = 8


# ---- the parts -----------------------------------------------------------------------------

class Bench:
    """The parts and what they share: programs, folders, sizes, and the measured peak."""

    def __init__(self, args, out, scratch):
        self.args, self.out, self.scratch = args, out, scratch
        self.size = SIZES[args.size]
        self.is_cuda = args.device.startswith("cuda")
        self.dtype = args.dtype or ("bf16" if self.is_cuda else "f32")
        self.harness = os.path.abspath(args.harness)
        self.root = find_root(self.harness)
        self.plugins = args.plugins or os.path.join(self.root or ".", "plugins")
        self.folder = os.path.join(scratch, "folders")
        self.peak = None

    def parts(self):
        """(name, seconds at full size, seconds at small size, work) in the order of the run."""
        return [
            ("doctor", 20, 30, self.doctor), ("peak", 12, 30, self.measure_peak),
            ("kernels", 20, 30, self.kernels), ("golden", 15, 30, self.golden),
            ("zoo", 35, 60, self.zoo), ("model", 45, 30, self.model),
            ("steering", 90, 60, self.steering), ("fidelity", 80, 45, self.fidelity),
            ("orders", 60, 45, self.orders), ("training", 103, 60, self.training),
        ]

    # -- commands --

    def environment(self, **more):
        env = {**os.environ, "HARNESS_CACHE": os.path.join(self.scratch, "cache"), **more}
        if self.is_cuda:
            # The same libtorch on both sides, and the libraries it was installed with.
            torch = os.path.dirname(importlib.util.find_spec("torch").origin)
            nvidia = os.path.join(os.path.dirname(torch), "nvidia")
            libraries = [os.path.join(torch, "lib")]
            if os.path.isdir(nvidia):
                inner = (os.path.join(nvidia, name, "lib") for name in sorted(os.listdir(nvidia)))
                libraries += [folder for folder in inner if os.path.isdir(folder)]
            old = env.get("LD_LIBRARY_PATH")
            env["LD_LIBRARY_PATH"] = ":".join(libraries + ([old] if old else []))
            env.setdefault("HARNESS_TORCH", torch)
        return env

    def ours(self, clock, *arguments, until=None, **environment):
        command = [self.harness, *map(str, arguments)]
        return run(command, clock, self.environment(**environment), until)

    def bench(self, clock, name, table_name, *arguments, **environment):
        """Runs a bench into a folder of its own: (its run.json, the folder)."""
        store = os.path.join(self.scratch, name)
        ran = self.ours(clock, "bench", table_name, "--plugins", self.plugins, "--out", store,
                        *self.threads(), *arguments, **environment)
        check(ran, f"harness bench {table_name}")
        manifest = os.path.join(store, "run.json")
        shutil.copy(manifest, os.path.join(self.out, f"{name}.run.json"))
        return read_json(manifest), store

    def on_random(self, model, *arguments):
        """Arguments of a bench on the random folders, as this model and its SAEs for masks."""
        return ["--model", f"{model}={self.folder}/model", "--rows", f"{model}-mask",
                "--saes", f"{model}-mask={self.folder}/saes", "--profile", "real", "--workers", 1,
                "--device", self.args.device, "--dtype", self.dtype, *arguments]

    def is_full(self):
        return self.args.size == "full"

    def threads(self):
        return ["--threads", self.args.threads] if self.args.threads else []

    def theirs(self, clock, what, *arguments):
        """Runs a loop of peer.py: its answer."""
        command = [sys.executable, "-B", os.path.join(HERE, "peer.py"), what, self.folder,
                   "--device", self.args.device, "--dtype", self.dtype, *self.threads()]
        ran = run([*map(str, command), *map(str, arguments)], clock)
        return json.loads(check(ran, f"peer.py {what}").stdout)

    def share(self, flops, seconds):
        if not self.peak or not seconds or not flops:
            return None
        return flops / (seconds * self.peak)

    def add_theirs(self, rows, row, answer):
        """A row for each loop of the answer, ours beside all of them."""
        ours = dataclasses.replace(row)
        for number, loop in enumerate(answer["results"]):
            here = row if number == 0 else dataclasses.replace(ours, note="")
            here.theirs = loop["seconds"] if row.unit == "s" else loop["rate"]
            here.their_share = self.share(loop.get("flops"), loop["seconds"])
            here.note = f"Theirs: {loop['what']}, {loop['measured']}. {here.note}".strip()
            if number:
                rows.append(here)

    # -- checks --

    def doctor(self, rows, details, clock):
        """The harness's own look at the machine."""
        ran = self.ours(clock, "doctor", "--device", self.args.device, "--json", "--plugins",
                        self.plugins)
        if ran.code == 2 and "unrecognized subcommand" in ran.stderr:
            raise Skipped("this harness has no command doctor")
        report = json.loads(ran.stdout) if ran.stdout.strip() else {}
        details["doctor"] = report
        check(ran, "harness doctor")
        libtorch, driver, plugins = (report[name] for name in ("libtorch", "driver", "plugins"))
        rows.append(Row("doctor", report["device"]["name"], "ok",
                        note=f"libtorch {libtorch['version']} ({libtorch['origin']}), driver "
                             f"{driver['version'] or 'none'}, {len(plugins['loaded'])} plugins, "
                             f"{len(plugins['refused'])} refused; {ran.seconds:.1f} s"))

    def measure_peak(self, rows, details, clock):
        """The rate of torch's matrix products, which all shares refer to."""
        answer = self.theirs(clock, "peak")
        details.update(answer)
        self.peak = answer["results"][0]["rate"]
        rows.append(Row("peak", f"matrix product in {self.dtype}",
                        f"{self.peak / 1e12:,.2f} TFLOP/s",
                        note=f"{answer['device']}, torch {answer['torch']}"))

    def kernels(self, rows, details, clock):
        """The kernels of our own against their references."""
        if not self.args.kernel_tests:
            raise Skipped("--kernel-tests names no test program; `cargo test --release --no-run "
                          "-p harness-kernels` makes one")
        command = [os.path.abspath(self.args.kernel_tests), "--nocapture"]
        ran = check(run(command, clock, self.environment()), "the kernels' tests")
        said = ran.stdout.splitlines()
        skipped = [line for line in said + ran.stderr.splitlines() if "skipped:" in line]
        result = [line for line in said if line.startswith("test result:")]
        if not result:
            raise Failed("the kernels' tests printed no result", last_lines(ran.stdout))
        details.update(result=result, skipped=skipped)
        rows.append(Row("kernels", "kernels against references",
                        result[-1].split(".", 1)[1].split(";")[0].strip(),
                        note=f"{len(skipped)} of the tests said that they were skipped"))

    def golden(self, rows, details, clock):
        """Parity fixtures, with the model passes on the device."""
        if not self.args.golden:
            raise Skipped("--golden names no folder of parity fixtures")
        ran = self.ours(clock, "golden", self.args.golden, "--plugins", self.plugins, "--device",
                        self.args.device, "--json", *self.threads(), NVIDIA_TF32_OVERRIDE="0")
        lines = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
        counts = {}
        for line in lines:
            counts[line["status"]] = counts.get(line["status"], 0) + 1
        details.update(counts=counts, others=[x for x in lines if x["status"] != "pass"][:50])
        check(ran, "harness golden")
        rows.append(Row("golden", "parity fixtures", f"{counts.get('pass', 0)} passed",
                        note=f"{counts.get('skip', 0)} skipped, f32 without TF32"))

    def zoo(self, rows, details, clock):
        """The embedded models on the device against the CPU."""
        if not os.path.isdir(os.path.join(self.root or "", "benchmarks", "zoo", "dream")):
            raise Skipped("the embedded models are not beside this harness")
        self.zoo_fidelity(rows, details, clock)
        self.zoo_table(rows, details, clock)

    def both(self, clock, name, *arguments):
        """A bench on the CPU and on the device, which on the CPU has batches of another size."""
        on = ["--device", self.args.device, "--batch", 3] if not self.is_cuda else [
            "--device", self.args.device]
        _, left = self.bench(clock, f"zoo-{name}-cpu", name, *arguments)
        _, right = self.bench(clock, f"zoo-{name}-device", name, *arguments, *on,
                              NVIDIA_TF32_OVERRIDE="0")
        return [os.path.join(store, f"{name}.csv") for store in (right, left)]

    def zoo_fidelity(self, rows, details, clock):
        device, cpu = self.both(clock, "fidelity", "--rows", "dream-mask", "--layers", "2,5",
                                "--budget-tokens", 10_000 if self.is_full() else 2000,
                                "--measures", "kl")
        ran = self.ours(clock, "compare", device, cpu, "--rtol", "1e-4", "--atol", "1e-6")
        details["compare"] = ran.stdout.splitlines()[-20:]
        if ran.code == 10:
            raise Failed("fidelity on the device differs from the CPU's by more than 1e-4",
                         last_lines(ran.stdout))
        check(ran, "harness compare")
        rows.append(Row("zoo", "fidelity against the CPU", "equal to 1e-4", note=self.other_run()))

    def zoo_table(self, rows, details, clock):
        budget = ["--rows", "dream-mask,llada-mask", "--layers", "2,5", "--k", 8]
        if not self.is_full():
            budget = ["--rows", "dream-mask", "--layers", 5, "--k", 8, "--limit", 4,
                      "--dlm-steps", 10, "--budget-tokens", 8000]
        device, cpu = self.both(clock, "table2", *budget)
        columns = ("concept_improvement", "perplexity_reduction", "steering_score")
        compared, beyond = beyond_two_errors(device, cpu, columns, ("model", "sae", "layer"))
        details.update(compared=compared, beyond=beyond)
        if beyond or not compared:
            raise Failed(f"{len(beyond)} of {compared} values of table2 are further from the "
                         "CPU's than two standard errors", beyond)
        rows.append(Row("zoo", "table2 against the CPU", f"{compared} values agree",
                        note=f"within two standard errors; {self.other_run()}"))

    def other_run(self):
        return "f32 without TF32" if self.is_cuda else "the CPU twice, in batches of other sizes"

    # -- benches --

    def model(self, rows, details, clock):
        """Folders of random weights, made on the device."""
        command = [sys.executable, "-B", os.path.join(HERE, "folders.py"), self.folder,
                   "--device", self.args.device, "--size", self.args.size]
        ran = check(run(command, clock), "folders.py")
        size = json.loads(ran.stdout)["bytes"]
        details.update(bytes=size, shape=dataclasses.asdict(self.size.shape))
        shape = self.size.shape
        rows.append(Row("model", f"{shape.n_layers} blocks, d {shape.d_model}, "
                        f"SAEs of {shape.d_sae:,}", ran.seconds, unit="s",
                        note=f"random weights, {size / 2**30:.2f} GiB written"))

    def need_model(self):
        if not os.path.isfile(os.path.join(self.folder, "questions.jsonl")):
            raise Failed("there are no folders of weights; part model makes them")

    def steering(self, rows, details, clock):
        """Texts steered with features of one SAE."""
        self.need_model()
        size, k = self.size, self.size.shape.k[0]
        manifest, _ = self.bench(clock, "steering", "table2", *self.on_random(
            "dream", "--layers", size.layer, "--k", k, "--data", f"{self.folder}/text.jsonl",
            "--scorer", "none", "--budget-tokens", size.feature_tokens, "--context-length", 128,
            "--n-features", size.features, "--n-prefix", PREFIXES, "--dlm-steps", size.steps,
            "--max-new-tokens", 30))
        stages = details["stages"] = manifest["stages"]
        steer = stages["steer"]
        features = steer["generations"] // PREFIXES
        if not features:
            raise Failed("no feature was steered with")
        seconds = {name: stages[name]["seconds"] for name in ("features", "baseline")}
        row = Row("steering", f"{features} features × {PREFIXES} prefixes, {size.steps} steps",
                  steer["seconds"], unit="s", share=self.share(steer["flops"], steer["seconds"]),
                  note=f"Beside it: unsteered texts, once for all SAEs of a model, and loading "
                       f"{seconds['baseline']:.1f} s, looking features up "
                       f"{seconds['features']:.1f} s")
        rows.append(row)
        at = size.shape.sae_layers.index(size.layer) * len(size.shape.k)
        answer = self.theirs(clock, "steering", "--features", features, "--prefixes", PREFIXES,
                             "--steps", size.steps, "--sae", at)
        details["peer"] = answer
        self.add_theirs(rows, row, answer)

    def fidelity(self, rows, details, clock):
        """One batch through a grid of SAEs."""
        self.need_model()
        size, shape = self.size, self.size.shape
        listed = [",".join(map(str, numbers)) for numbers in (shape.sae_layers, shape.k)]
        manifest, _ = self.bench(clock, "fidelity", "fidelity", *self.on_random(
            "dream", "--layers", listed[0], "--k", listed[1], "--data",
            f"{self.folder}/text.jsonl", "--documents", "pack", "--measures", "none",
            "--context-length", size.length, "--batch", size.rows, "--budget-tokens",
            size.rows * size.length))
        grid = details["grid"] = manifest["grid"]
        details["stages"] = manifest["stages"]
        count = len(shape.sae_layers) * len(shape.k)
        phases = sorted(((v, n) for n, v in grid["phases"].items() if n not in ("load", "data")),
                        reverse=True)
        told = ", ".join(f"{name} {seconds:.2f} s" for seconds, name in phases[:4])
        row = Row("fidelity", f"{count} SAEs, {size.rows} × {size.length} tokens",
                  grid["seconds"], unit="s", share=self.share(grid["flops"], grid["seconds"]),
                  note=f"Ours: {told}; loading {grid['load_seconds']:.1f} s beside it")
        rows.append(row)
        answer = self.theirs(clock, "fidelity", "--rows", size.rows, "--length", size.length)
        details["peer"] = answer
        self.add_theirs(rows, row, answer)

    def orders(self, rows, details, clock):
        """Questions answered in the paper's decoding orders, with features followed."""
        self.need_model()
        size, shape = self.size, self.size.shape
        k = shape.k[0]
        manifest, store = self.bench(clock, "orders", "decoding-order", *self.on_random(
            "dream-instruct", "--layers", ",".join(map(str, shape.sae_layers)), "--k", k,
            "--k-set", k, "--questions", f"{self.folder}/questions.jsonl", "--preset", "question",
            "--n-questions", QUESTIONS, "--orders", ",".join(ORDERS), "--dlm-steps",
            size.answer_steps, "--max-new-tokens", size.answer_steps))
        stage = manifest["stages"]["decoding"]
        details.update(stages=manifest["stages"], decoding=manifest["decoding"])
        seconds = warm_seconds(cell_seconds(store, "decoding")) or stage["seconds"]
        row = Row("orders", f"{QUESTIONS} questions × {size.answer_steps} steps, "
                  f"{len(ORDERS)} orders", seconds, unit="s",
                  share=self.share(stage["flops"], seconds),
                  note="Ours: the order that loads the model counts as the mean of the others")
        rows.append(row)
        answer = self.theirs(clock, "orders", "--questions", QUESTIONS, "--orders", len(ORDERS),
                             "--steps", size.answer_steps, "--new", size.answer_steps,
                             "--k-set", k)
        details["peer"] = answer
        self.add_theirs(rows, row, answer)

    def training(self, rows, details, clock):
        """The SAEs of one layer, trained for a time."""
        self.need_model()
        size, shape = self.size, self.size.shape
        out = os.path.join(self.scratch, "training")
        seen = Steps(os.path.join(out, "training.csv"), size.train_seconds)
        ran = self.ours(
            clock, "train", "--model", f"{self.folder}/model", "--plugins", self.plugins,
            "--data", f"{self.folder}/text.jsonl", "--out", out, "--layers", size.layer,
            "--k", ",".join(map(str, shape.k)), "--policies", "mask", "--d-sae", shape.d_sae,
            "--tokens", 100_000_000, "--context-length", size.length, "--model-batch", 8,
            "--batch", size.train_batch, "--buffer", size.train_buffer, "--allow-short",
            "--log-every", 5, "--checkpoint-every", 1_000_000, "--device", self.args.device,
            "--dtype", self.dtype, *self.threads(), until=seen.is_over)
        check(ran, "harness train")
        if seen.rate() is None:
            raise Failed("harness train made no two logged steps in its time", ran.lines())
        rate = seen.rate() * len(shape.k)
        details.update(steps=seen.last - seen.first, seconds=seen.ended - seen.began)
        row = Row("training", f"steps of an SAE, {len(shape.k)} SAEs of {shape.d_sae:,}, batch "
                  f"{size.train_batch}", rate, unit="/s",
                  note=f"Ours: {details['steps']} steps in {details['seconds']:.0f} s, model "
                       "passes included on both sides")
        rows.append(row)
        answer = self.theirs(clock, "training", "--layer", size.layer, "--batch",
                             size.train_batch, "--buffer", size.train_buffer, "--rows", 8,
                             "--length", size.length, "--seconds", size.peer_train_seconds)
        details["peer"] = answer
        self.add_theirs(rows, row, answer)


# ---- the command ---------------------------------------------------------------------------

def find_root(harness):
    """The folder above a harness that holds its benches."""
    at = os.path.dirname(os.path.realpath(harness))
    while True:
        if os.path.isdir(os.path.join(at, "benchmarks", "tables")):
            return at
        above = os.path.dirname(at)
        if above == at:
            return None
        at = above


def place_for(size, wanted):
    """A folder with room: what was asked for, or memory-backed storage, or temporary files."""
    needed = 1.05 * folders.bytes_needed(size) + (1 << 28)
    places = [wanted] if wanted else ["/dev/shm", tempfile.gettempdir()]
    for place in places:
        if os.path.isdir(place) and os.access(place, os.W_OK) and (
                shutil.disk_usage(place).free > needed):
            return place
    raise SystemExit(f"device.py: {needed / 2**30:.1f} GiB are needed for weights, and "
                     f"{' and '.join(places)} have less; name a folder with --scratch")


def selected(parts, names):
    """The parts that were asked for, with the one that makes what others read."""
    if not names:
        return parts
    known = [part[0] for part in parts]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"device.py: there is no part {unknown[0]}; there are {', '.join(known)}")
    wanted = set(names)
    if wanted & {"steering", "fidelity", "orders", "training"}:
        wanted |= {"peak", "model"}
    return [part for part in parts if part[0] in wanted]


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("--device", default="cuda:0", help="cuda:N or cpu [default: cuda:0]")
    option("--size", choices=SIZES, default="full",
           help="of the model, the SAEs and the budgets: full is Dream-7B's, medium has as many "
                "blocks and SAEs at a width of 256, small fits any machine [default: full]")
    option("--small", action="store_const", const="small", dest="size", help="as --size small")
    option("--dtype", choices=("f32", "bf16"),
           help="of model passes [default: bf16 on a GPU, f32 on a CPU]")
    option("--out", default="results/runs/device", help="[default: results/runs/device]")
    option("--parts", default="", help="only these, with a comma between them")
    option("--harness", default=HARNESS,
           help="the program, of a build or a bundle [default: the one two folders up]")
    option("--plugins", help="folder of plugins [default: that beside the harness's benches]")
    option("--kernel-tests", help="the test program of the kernels with CUDA")
    option("--golden", help="folder of parity fixtures")
    option("--scratch", help="where weights are written [default: /dev/shm, if they fit]")
    option("--threads", type=int, default=0,
           help="of both sides [default: 1 with --device cpu --small, else their own choice]")
    args = parser.parse_args(arguments)
    if args.size == "small" and args.device == "cpu" and not args.threads:
        # Two threads on a machine that does something else say nothing.
        args.threads = 1
    return args


def about(args):
    version = check(run([args.harness, "--version"], Clock(10)), "harness --version")
    return {"command": sys.argv[1:], "device": args.device, "size": args.size, "dtype": args.dtype,
            "threads": args.threads, "harness": version.stdout.strip(),
            "started_unix": round(time.time()), "host": platform.node(),
            "python": platform.python_version(), "processors": os.cpu_count()}


def run_parts(args, scratch):
    record = Record(args.out, about(args))
    bench = Bench(args, args.out, scratch)
    total_s = TOTAL_S[args.size]
    total = Clock(total_s)
    for name, full, small, work in selected(bench.parts(), [p for p in args.parts.split(",") if p]):
        seconds = {"full": full, "medium": MEDIUM_FACTOR * small, "small": small}[args.size]
        record.part(name, seconds, total, work)
    record.about["seconds"] = round(total_s - total.left(), 1)
    record.write()
    sys.stdout.write(record.text())
    return 0 if record.is_good() else 1


def main():
    args = parse(sys.argv[1:])
    if importlib.util.find_spec("torch") is None:
        raise SystemExit(f"device.py: {sys.executable} has no torch; `python3 -m pip install "
                         "torch==2.11.0` in a virtual environment, and run this with its python3")
    if not os.access(args.harness, os.X_OK):
        raise SystemExit(f"device.py: there is no program {args.harness}; `cargo xtask build` "
                         "makes it, or --harness names that of an unpacked bundle")

    def end(signum, frame):
        raise SystemExit(128 + signum)

    # However it is asked to stop, it ends what is under way and removes the weights.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    size = folders.SHAPES[args.size]
    with tempfile.TemporaryDirectory(prefix="harness-device-",
                                     dir=place_for(size, args.scratch)) as scratch:
        try:
            return run_parts(args, scratch)
        except Failed as error:
            raise SystemExit(f"device.py: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
