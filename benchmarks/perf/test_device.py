#!/usr/bin/env python3
"""Tests of device.py and of what it uses, without a device and without the harness.

  python3 -m unittest discover --start-directory benchmarks/perf

What needs torch says that it is skipped where there is none."""
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import device
import folders
import limits
import report
import results

HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = unittest.skipUnless(HAS_TORCH, "this Python has no torch")
ABOUT = {"started_unix": 0, "device": "cpu", "harness": "harness 0", "processors": 2,
         "threads": 1, "command": []}


def is_running(pid):
    """Whether a process does something; one that nobody has waited for yet does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Folder(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = folder.name
        # What fails in these tests is meant to; its messages are not for whoever runs them.
        told = mock.patch.object(report, "tell")
        told.start()
        self.addCleanup(told.stop)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()


class Safetensors(Folder):
    def test_header_names_places_and_ends_at_a_multiple_of_eight(self):
        specs = [("a", "BF16", (3, 5)), ("b", "F32", (2,)), ("c", "BF16", ())]
        data = folders.header(specs)
        length = int.from_bytes(data[:8], "little")
        self.assertEqual((len(data), len(data) % 8), (8 + length, 0))
        entries = json.loads(data[8:])
        self.assertEqual(entries["a"], {"dtype": "BF16", "shape": [3, 5], "data_offsets": [0, 30]})
        self.assertEqual(entries["b"]["data_offsets"], [30, 38])
        self.assertEqual(entries["c"]["data_offsets"], [38, 40])

    @needs_torch
    def test_what_is_written_is_read(self):
        import torch

        torch.manual_seed(1)
        tensors = {"wide": torch.randn(7, 4), "narrow": torch.randn(5, 3).to(torch.bfloat16),
                   # Not in one piece: it is written in the order of its rows all the same.
                   "turned": torch.randn(4, 6).T, "none": torch.zeros(0, 4)}
        formats = {torch.float32: "F32", torch.bfloat16: "BF16"}
        # Numbers of four bytes come first: the format aligns nothing within a file.
        specs = [(n, formats[t.dtype], tuple(t.shape))
                 for n, t in sorted(tensors.items(), key=lambda item: item[0] == "narrow")]
        path = self.path("a.safetensors")
        folders.write_safetensors(path, specs, lambda name, shape: tensors[name])
        found = folders.read_safetensors(path)
        self.assertEqual(found.keys(), tensors.keys())
        for name, tensor in tensors.items():
            self.assertEqual(found[name].dtype, tensor.dtype)
            self.assertTrue(torch.equal(found[name], tensor), name)

    @needs_torch
    def test_a_tensor_of_another_size_is_refused(self):
        import torch

        with self.assertRaisesRegex(ValueError, "tensor a has another size than F32"):
            folders.write_safetensors(self.path("a"), [("a", "F32", (3,))],
                                      lambda name, shape: torch.zeros(4))

    def test_shards_hold_every_tensor_in_order_within_the_limit(self):
        specs = [(str(i), "F32", (n,)) for i, n in enumerate((10, 10, 50, 1, 1, 1))]
        groups = folders.shards(specs, limit=100)
        self.assertEqual([spec for group in groups for spec in group], specs)
        self.assertEqual([len(group) for group in groups], [2, 1, 3])


class Random(Folder):
    def test_the_full_shape_is_that_of_dream_7b(self):
        total = sum(math.prod(shape) for _, shape in folders.parameters(folders.FULL))
        self.assertEqual(total, 7_615_616_512)

    def test_every_id_below_the_special_tokens_has_a_spelling_of_its_own(self):
        for shape in (folders.SMALL, folders.FULL):
            made = folders.tokenizer(shape)
            vocab = made["model"]["vocab"]
            self.assertEqual(sorted(vocab.values()), list(range(shape.end_id)))
            added = {token["content"]: token["id"] for token in made["added_tokens"]}
            self.assertEqual(sorted(added.values()),
                             list(range(shape.end_id, shape.mask_id + 1)))
            self.assertEqual(added["<|mask|>"], shape.mask_id)
            self.assertLess(shape.mask_id, shape.vocab_size)
            self.assertTrue(all(spelling.split() == [spelling] for spelling in vocab))

    @needs_torch
    def test_folders_are_whole_and_the_saes_of_a_layer_share_their_weights(self):
        with mock.patch.object(folders, "SHARD_BYTES", 1 << 20):
            folders.write_all(self.path("f"), folders.SMALL, "cpu", documents=3, length=20)
        index = json.loads(self.read("f/model/model.safetensors.index.json"))["weight_map"]
        names = {name: shape for name, shape in folders.parameters(folders.SMALL)}
        found = folders.read_folder(self.path("f/model"))
        self.assertEqual({name: tuple(t.shape) for name, t in found.items()}, names)
        self.assertEqual(index.keys(), names.keys())
        self.assertEqual(sorted(set(index.values())),
                         sorted(n for n in os.listdir(self.path("f/model"))
                                if n.endswith(".safetensors")))
        texts = [json.loads(line)["text"] for line in self.read("f/text.jsonl").splitlines()]
        self.assertEqual([len(text.split()) for text in texts], [20] * 3)
        layer = f"f/saes/resid_post_layer_{folders.SMALL.sae_layers[0]}"
        ks = [json.loads(self.read(f"{layer}/trainer_{i}/cfg.json"))["k"]
              for i in range(len(folders.SMALL.k))]
        self.assertEqual(tuple(ks), folders.SMALL.k)
        weights = [f"{layer}/trainer_{i}/sae_weights.safetensors" for i in range(len(ks))]
        self.assertEqual(len({os.stat(self.path(name)).st_ino for name in weights}), 1)
        rows = folders.read_safetensors(self.path(weights[0]))
        self.assertTrue((rows["W_dec"].norm(dim=1) - 1).abs().max() < 1e-5)
        self.assertTrue((rows["W_dec"].T == rows["W_enc"]).all())


class Table(unittest.TestCase):
    def test_ratios_say_how_many_times_faster_ours_is(self):
        self.assertEqual(report.Row("p", "w", 2.0, 8.0, "s").ratio, 4.0)
        self.assertEqual(report.Row("p", "w", 8.0, 2.0, "/s").ratio, 4.0)
        for row in (report.Row("p", "w", "ok", 2.0, "s"), report.Row("p", "w", 2.0, None, "s"),
                    report.Row("p", "w", 0.0, 2.0, "s")):
            self.assertIsNone(row.ratio)

    def test_a_table_has_a_line_for_each_row_and_no_cell_breaks_it(self):
        rows = [report.Row("a", "x|y", 12.345, 123.0, "s", share=0.614, note="one\ntwo"),
                report.Row("b", "z", "ok"), report.Row("c", "v", 1234.5, 0.5, "/s")]
        self.assertEqual(report.table(rows).splitlines()[2:], [
            "| a | x\\|y | 12.3 s | 123.0 s | 9.96 | 61 % | one two |",
            "| b | z | ok |  |  |  |  |",
            "| c | v | 1,234.5/s | 0.50/s | 2469.00 |  |  |"])


class Limits(Folder):
    def test_a_late_command_is_ended_with_all_that_it_started(self):
        script = f"sleep 60 & echo $! >{self.path('pid')}; echo so far >&2; wait"
        with self.assertRaisesRegex(limits.OutOfTime, "sh was ended after 1 s") as caught:
            limits.run(["sh", "-c", script], limits.Clock(0.7))
        self.assertEqual(caught.exception.lines, ["so far"])
        pid = int(self.read("pid"))
        for _ in range(50):
            if not is_running(pid):
                return
            time.sleep(0.1)
        self.fail("what the command had started goes on")

    def test_no_command_is_started_without_time(self):
        with self.assertRaises(limits.OutOfTime):
            limits.run(["touch", self.path("made")], limits.Clock(0))
        self.assertFalse(os.path.exists(self.path("made")))

    def test_a_clock_ends_no_later_than_the_one_it_is_in(self):
        outer = limits.Clock(1)
        self.assertLessEqual(limits.Clock(100, within=outer).left(), 1)
        self.assertLessEqual(limits.Clock(0.5, within=outer).left(), 0.5)

    def test_output_and_exit_code_are_kept_and_only_the_last_lines_of_messages(self):
        script = "echo out; seq 100 >&2; printf 'one\\rtwo\\n' >&2; exit 3"
        ran = limits.run(["sh", "-c", script], limits.Clock(20))
        self.assertEqual((ran.code, ran.stdout), (3, "out\n"))
        self.assertEqual(ran.lines()[-3:], ["100", "one", "two"])
        self.assertEqual(len(ran.lines()), limits.KEPT_LINES)
        with self.assertRaisesRegex(limits.Failed, "it ended with exit code 3"):
            limits.check(ran, "it")

    def test_a_watched_command_is_asked_to_end(self):
        script = f"trap 'echo asked >{self.path('said')}; exit 0' INT; while :; do sleep 0.05; done"
        ran = limits.run(["sh", "-c", script], limits.Clock(20), until=lambda: True)
        self.assertEqual((ran.code, self.read("said")), (0, "asked\n"))

    def test_a_program_that_is_not_there_is_named(self):
        with self.assertRaisesRegex(limits.Failed, "missing cannot be started"):
            limits.run([self.path("missing")], limits.Clock(5))


class Parts(Folder):
    def record(self):
        return report.Record(self.dir, ABOUT)

    def test_each_part_is_on_the_disk_when_it_ends_and_fails_alone(self):
        record, total = self.record(), limits.Clock(60)
        seen = []

        def good(rows, details, clock):
            seen.append(json.loads(self.read("device.json"))["parts"])
            rows.append(report.Row("x", "measured", 1.0, 2.0, "s"))
            details["count"] = 3

        def bad(rows, details, clock):
            rows.append(report.Row("x", "before it failed", 1.0))
            raise limits.Failed("it broke", ["last words"])

        def late(rows, details, clock):
            limits.run(["sleep", "60"], clock)

        def unlike(rows, details, clock):
            return {}["stages"]

        def cannot(rows, details, clock):
            raise limits.Skipped("there is none")

        for name, limit, work in (("bad", 9, bad), ("late", 0.3, late), ("unlike", 9, unlike),
                                  ("cannot", 9, cannot), ("good", 9, good)):
            record.part(name, limit, total, work)
        self.assertEqual(seen[0]["good"]["status"], "running")
        self.assertEqual(seen[0]["bad"]["stderr"], ["last words"])
        said = json.loads(self.read("device.json"))
        self.assertEqual({name: part["status"] for name, part in said["parts"].items()},
                         {"bad": "failed", "late": "out of time", "unlike": "failed",
                          "cannot": "skipped", "good": "ok"})
        self.assertIn("'stages'", said["parts"]["unlike"]["reason"])
        self.assertEqual(said["parts"]["good"]["details"], {"count": 3})
        self.assertEqual(said["rows"][-1]["ratio"], 2.0)
        self.assertIn("| bad | failed |  |  |  |  | it broke: last words |", self.read("device.md"))
        self.assertIn("before it failed", self.read("device.md"))
        self.assertFalse(record.is_good())

    def test_skipped_parts_are_no_failure(self):
        record = self.record()

        def cannot(rows, details, clock):
            raise limits.Skipped("there is none")
        record.part("cannot", 9, limits.Clock(9), cannot)
        self.assertTrue(record.is_good())

    def test_parts_that_read_weights_bring_the_part_that_makes_them(self):
        parts = [(name, 1, 1, None) for name in ("doctor", "peak", "zoo", "model", "orders")]
        names = [part[0] for part in device.selected(parts, ["orders"])]
        self.assertEqual(names, ["peak", "model", "orders"])
        self.assertEqual(device.selected(parts, []), parts)
        with self.assertRaisesRegex(SystemExit, "no part nothing; there are doctor, peak"):
            device.selected(parts, ["nothing"])

    def test_the_limits_together_are_within_eight_minutes(self):
        args = device.parse(["--device", "cpu", "--small"])
        parts = device.Bench(args, self.dir, self.dir).parts()
        self.assertLessEqual(sum(full for _, full, _, _ in parts), device.TOTAL_S["full"])
        self.assertLessEqual(device.TOTAL_S["full"], 480)


class Results(Folder):
    HEAD = "model,sae,layer,c,c_std_err\n"
    KEY = ("model", "sae", "layer")

    def beyond(self, left, right):
        paths = [self.write(n, self.HEAD + text) for n, text in (("l", left), ("r", right))]
        return results.beyond_two_errors(*paths, ("c",), self.KEY)

    def test_values_are_held_to_two_standard_errors_of_their_difference(self):
        self.assertEqual(self.beyond("d,s,1,0.5,0.03\n", "d,s,1,0.59,0.04\n"), (1, []))
        compared, beyond = self.beyond("d,s,1,0.5,0.03\n", "d,s,1,0.61,0.04\n")
        self.assertEqual((compared, beyond), (1, ["d/s/1 c: 0.5 and 0.61"]))

    def test_a_value_that_one_table_lacks_is_beyond_and_another_row_a_failure(self):
        self.assertEqual(self.beyond("d,s,1,,\n", "d,s,1,,\n"), (0, []))
        compared, beyond = self.beyond("d,s,1,,\n", "d,s,1,0.5,0.1\n")
        self.assertEqual((compared, len(beyond)), (0, 1))
        with self.assertRaisesRegex(limits.Failed, "same rows"):
            self.beyond("d,s,1,0.5,0.1\n", "d,s,2,0.5,0.1\n")

    def test_the_first_cell_of_several_is_taken_as_the_others(self):
        for number, (stage, seconds) in enumerate((("decoding", 9.0), ("other", 5.0),
                                                   ("decoding", 2.0), ("decoding", 4.0))):
            record = {"stage": stage, "provenance": {"counters": {"seconds": seconds}}}
            path = self.write(f"cells/{number}/{number}.json", json.dumps({"record": record}))
            os.utime(path, (number, number))
        seconds = results.cell_seconds(self.dir, "decoding")
        self.assertEqual(seconds, [9.0, 2.0, 4.0])
        self.assertEqual(results.warm_seconds(seconds), 9.0)
        self.assertEqual(results.warm_seconds([7.0]), 7.0)

    def test_steps_are_counted_over_all_the_time_that_was_watched(self):
        times = iter((10.0, 11.0, 20.0, 21.0, 22.0))
        steps = results.Steps(self.path("training.csv"), 5.0, now=lambda: next(times))
        self.assertIsNone(steps.rate())
        self.assertFalse(steps.is_over())
        text = "policy,layer,k,step,tokens\nmask,1,16,5,10\n"
        self.write("training.csv", text)
        self.assertFalse(steps.is_over())
        # The time is up, and there is nothing to tell yet.
        self.assertFalse(steps.is_over())
        self.assertIsNone(steps.rate())
        # A line that is under way does not count.
        self.write("training.csv", text + "mask,1,16,15,30\nmask,1,16,99")
        self.assertTrue(steps.is_over())
        self.assertEqual(steps.rate(), 1.0)

    def test_the_folder_of_a_harness_is_found_above_it(self):
        self.write("h/benchmarks/tables/a.toml", "")
        harness = self.write("h/target/release/harness", "")
        self.assertEqual(device.find_root(harness), os.path.realpath(self.path("h")))
        self.assertIsNone(device.find_root(self.write("other/harness", "")))

    def test_weights_go_where_there_is_room(self):
        usage = mock.Mock(free=10)
        with mock.patch.object(device.shutil, "disk_usage", return_value=usage):
            with self.assertRaisesRegex(SystemExit, "name a folder with --scratch"):
                device.place_for(folders.SMALL, self.dir)
        self.assertEqual(device.place_for(folders.SMALL, self.dir), self.dir)


@needs_torch
class Command(Folder):
    """The whole program, with a harness that does not answer."""

    def start(self, script, *arguments):
        harness = self.write("harness", f"#!/bin/sh\n{script}\n")
        os.chmod(harness, 0o755)
        os.makedirs(self.path("scratch"), exist_ok=True)
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "device.py")
        command = [sys.executable, "-B", program, "--device", "cpu", "--small", "--out",
                   self.path("out"), "--scratch", self.path("scratch"), "--harness", harness]
        return subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def test_a_harness_that_fails_is_told_with_its_last_words_and_nothing_is_left(self):
        script = "[ $1 = --version ] && echo harness 9 && exit; echo no device >&2; exit 22"
        child = self.start(script, "--parts", "doctor")
        out, err = child.communicate(timeout=60)
        self.assertEqual(child.returncode, 1, err)
        self.assertIn("| doctor | failed |  |  |  |  | harness doctor ended with exit code 22: no "
                      "device |", out)
        part = json.loads(self.read("out/device.json"))["parts"]["doctor"]
        self.assertEqual(part["stderr"], ["no device"])
        self.assertEqual(os.listdir(self.path("scratch")), [])

    def test_asked_to_stop_it_ends_what_is_under_way_and_removes_the_weights(self):
        script = (f"[ $1 = --version ] && echo harness 9 && exit; sleep 60 & "
                  f"echo $! >{self.path('pid.tmp')}; mv {self.path('pid.tmp')} {self.path('pid')}; "
                  "wait")
        child = self.start(script, "--parts", "doctor")
        began = time.monotonic()
        while not os.path.exists(self.path("pid")) and time.monotonic() - began < 60:
            time.sleep(0.05)
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
        self.assertEqual(child.returncode, 128 + signal.SIGTERM)
        self.assertFalse(is_running(int(self.read("pid"))))
        self.assertEqual(os.listdir(self.path("scratch")), [])
        self.assertEqual(json.loads(self.read("out/device.json"))["parts"]["doctor"]["status"],
                         "running")


@needs_torch
class Peer(Folder):
    def test_a_step_of_the_schedule_fills_the_surest_masks_and_nothing_else(self):
        import peer
        import torch

        ids = torch.tensor([[1, 9, 9, 9], [9, 2, 9, 9]])
        masked = ids == 9
        tokens = torch.tensor([3, 4, 5, 6, 7, 8])
        sure = torch.tensor([0.1, 0.3, 0.2, 0.9, 0.1, 0.2])
        self.assertEqual(peer.take(ids, masked, tokens, sure, 2).tolist(),
                         [[1, 9, 4, 5], [6, 2, 9, 8]])

    def test_the_nucleus_is_the_smallest_set_that_reaches_its_share(self):
        import peer
        import torch

        logits = torch.tensor([[0.5, 0.05, 0.3, 0.15]]).log()
        found = peer.nucleus(logits, 1.0, 0.7)[0]
        self.assertEqual((found > 0).tolist(), [True, False, True, False])
        self.assertTrue((found - torch.tensor([0.625, 0, 0.375, 0])).abs().max() < 1e-6)
        self.assertTrue((peer.nucleus(logits, 1.0, 1.0) - logits.exp()).abs().max() < 1e-6)

    def test_loops_answer_and_fill_every_mask(self):
        import peer
        import torch

        folders.write_all(self.path("f"), folders.SMALL, "cpu", documents=1, length=8)
        with torch.no_grad():
            model = peer.Decoder(self.path("f/model"), torch.device("cpu"), torch.float32)
            prompts = peer.draw(model, 2, 5)
            for order in device.ORDERS:
                ids, history = peer.denoise(model, prompts, 7, 3, (0.7, 0.95, order))
                self.assertFalse((ids == model.mask_id).any())
                self.assertTrue((ids[:, :5] == prompts).all())
                left = [int((step == model.mask_id).sum()) for step in history]
                self.assertEqual(left, [14, 10, 6])

    def test_steering_adds_the_direction_times_the_largest_latent(self):
        import peer
        import torch

        folders.write_saes(self.path("saes"), folders.SMALL, "cpu")
        _, folder = peer.sae_folders(self.path("saes"))[0]
        sae = peer.Sae(folder, torch.device("cpu"), torch.float32)
        x = torch.randn(2, 3, folders.SMALL.d_model)
        with torch.no_grad():
            hook = peer.steer_hook(mock.Mock(flops=0), sae, 7, 2.0)
            expected = x + 2.0 * sae.encode(x).amax(-1, keepdim=True) * sae.w_dec[7]
            self.assertTrue((hook(x) - expected).abs().max() < 1e-4)


if __name__ == "__main__":
    unittest.main()
