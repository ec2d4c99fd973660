#!/usr/bin/env python3
"""Kills `harness bench` at random moments and shows that nothing is lost.

    tests/kill_loop.py [--rounds 100] [--seed 1] [--bench table2,fidelity] [--full] [--harness target/release/harness]

Each round takes an empty store, starts a bench of the embedded models, kills the supervisor or one of its workers with SIGKILL at
a random moment, once to three times in a row, and then lets the same command end. The CSV must equal an uninterrupted run's byte
for byte, `harness verify` must find nothing wrong, and no process of the run may be left. The first difference ends the loop with exit code 1 and
leaves the store for inspection. `--full` takes the benches as they are instead of a small form of them.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SMALL = {
    "table2": "--layers 2,5 --k 8 --limit 2 --n-prefix 2 --dlm-steps 4 --max-new-tokens 8 --budget-tokens 2000",
    "fidelity": "--layers 2,5 --budget-tokens 2000 --set shard_tokens=500",
}


def command(harness, bench, out, full):
    small = [] if full else SMALL[bench].split()
    return [harness, "bench", bench, "--plugins", "plugins", "--threads", "1", "--out", str(out), *small]


def tables(out):
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.csv"))}


def children(pid):
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Loop:
    def __init__(self, args):
        self.args, self.random = args, random.Random(args.seed)
        self.counts = {"supervisor": 0, "worker": 0, "too late": 0}

    def run(self, bench, out):
        """The bench to its end; returns exit code and what it said."""
        done = subprocess.run(command(self.args.harness, bench, out, self.args.full), cwd=ROOT, capture_output=True, text=True)
        return done.returncode, done.stderr

    def strike(self, bench, out, seconds):
        """Start the bench and kill part of it after a random time; whether it was still running then."""
        run = subprocess.Popen(
            command(self.args.harness, bench, out, self.args.full), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(self.random.uniform(0, seconds))
        workers = children(run.pid)
        if run.poll() is not None:
            self.counts["too late"] += 1
            return False
        if workers and self.random.random() < 0.5:
            kill(self.random.choice(workers))
            self.counts["worker"] += 1
            # The run goes on without it, and ends with code 5 or, when the worker had nothing to do, 0.
            if run.wait(timeout=600) not in (0, 5):
                raise AssertionError(f"{bench}: exit code {run.returncode} after the death of a worker")
        else:
            run.kill()
            run.wait()
            self.counts["supervisor"] += 1
            deadline = time.time() + 10
            while left := [pid for pid in workers if is_running(pid)]:
                if time.time() > deadline:
                    raise AssertionError(f"{bench}: workers {left} have outlived their supervisor by 10 s")
                time.sleep(0.05)
        return True

    def round(self, bench, out, expected, seconds):
        while not self.strike(bench, out, seconds):
            shutil.rmtree(out)
        for _ in range(self.random.randint(0, 2)):
            self.strike(bench, out, seconds)
        code, said = self.run(bench, out)
        if code != 0:
            raise AssertionError(f"{bench}: continuing ended with exit code {code}:\n{said}")
        if tables(out) != expected:
            raise AssertionError(f"{bench}: the CSV differs from an uninterrupted run's")
        verify = subprocess.run([self.args.harness, "verify", "--out", str(out)], cwd=ROOT, capture_output=True, text=True)
        if verify.returncode != 0:
            raise AssertionError(f"{bench}: verify ended with {verify.returncode}:\n{verify.stdout}{verify.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="rounds in all, shared by the benches")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bench", default="table2,fidelity")
    parser.add_argument("--full", action="store_true", help="the benches as they are: minutes a round")
    parser.add_argument("--harness", default=str(ROOT / "target/release/harness"))
    args = parser.parse_args()
    loop, scratch = Loop(args), Path(tempfile.mkdtemp(prefix="harness-kill-"))
    benches = args.bench.split(",")
    references = {}
    for bench in benches:
        started = time.time()
        code, said = loop.run(bench, scratch / f"{bench}-reference")
        if code != 0:
            sys.exit(f"the uninterrupted run of {bench} ended with {code}:\n{said}")
        references[bench] = (tables(scratch / f"{bench}-reference"), time.time() - started)
        print(f"{bench}: an uninterrupted run takes {references[bench][1]:.1f} s, {len(references[bench][0])} tables", flush=True)
    for i in range(args.rounds):
        bench = benches[i % len(benches)]
        out = scratch / f"{bench}-{i}"
        try:
            loop.round(bench, out, *references[bench])
        except AssertionError as error:
            sys.exit(f"round {i}: {error}\nthe store is {out}")
        shutil.rmtree(out)
        if (i + 1) % 10 == 0:
            print(f"{i + 1} rounds: {loop.counts}", flush=True)
    shutil.rmtree(scratch)
    kills = loop.counts["supervisor"] + loop.counts["worker"]
    print(f"{args.rounds} rounds, {kills} kills ({loop.counts}): every CSV equal to an uninterrupted run's")


if __name__ == "__main__":
    main()
