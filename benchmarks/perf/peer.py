#!/usr/bin/env python3
"""The other side of device.py's ratios: the same work by plain loops over torch.

  peer.py peak|steering|fidelity|orders|training [--device cuda:0] [--dtype bf16] DIR

DIR is a folder of folders.py. The loops are those of the tools in use: passes through the whole
model for each SAE, each feature and each order, dense SAEs, autograd for training. They are kind to
those tools: attention is torch's fused one with grouped heads, an SAE is encoded once a pass, and
loading is not counted. What would take too long is measured in part and scaled, and the answer says
so. Prints one JSON object: `results` holds `what`, `seconds`, `flops`, `measured` and `rate` of
each loop. Needs torch and nothing else."""
import argparse
import json
import math
import os
import sys
import time

import torch
import torch.nn.functional as F

import folders

KINDS = {"bf16": torch.bfloat16, "f32": torch.float32}


# ---- the model -----------------------------------------------------------------------------

def rms_norm(x, weight, eps):
    wide = x.float()
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return weight * wide.to(x.dtype)


def rotate(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Decoder:
    """Dream: Qwen2's block, read in both directions.

    Hooks are functions from the residual to the residual, by the number of the block whose output
    they are given."""

    def __init__(self, folder, device, kind):
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            self.config = json.load(file)
        tensors = folders.read_folder(folder)
        self.weights = {name: tensor.to(device, kind) for name, tensor in tensors.items()}
        self.device, self.kind = device, kind
        self.n_layers = self.config["num_hidden_layers"]
        self.n_heads = self.config["num_attention_heads"]
        self.n_kv_heads = self.config["num_key_value_heads"]
        self.d_model = self.config["hidden_size"]
        self.head_dim = self.d_model // self.n_heads
        self.mask_id = self.config["mask_token_id"]
        self.flops = 0

    def rotary(self, length):
        steps = torch.arange(0, self.head_dim, 2, device=self.device, dtype=torch.float32)
        frequencies = self.config["rope_theta"] ** (-steps / self.head_dim)
        angles = torch.arange(length, device=self.device).float()[:, None] * frequencies
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(self.kind), angles.sin().to(self.kind)

    def attention(self, at, x, cos, sin):
        batch, length, _ = x.shape

        def project(name, heads):
            weight = self.weights[f"{at}self_attn.{name}_proj.weight"]
            bias = self.weights[f"{at}self_attn.{name}_proj.bias"]
            out = F.linear(x, weight, bias).view(batch, length, heads, self.head_dim)
            return out.transpose(1, 2)

        q = rotate(project("q", self.n_heads), cos, sin)
        k = rotate(project("k", self.n_kv_heads), cos, sin)
        v = project("v", self.n_kv_heads)
        out = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        out = out.transpose(1, 2).reshape(batch, length, self.d_model)
        return F.linear(out, self.weights[at + "self_attn.o_proj.weight"])

    def block(self, number, x, cos, sin):
        at, eps = f"model.layers.{number}.", self.config["rms_norm_eps"]
        w = self.weights
        x = x + self.attention(at, rms_norm(x, w[at + "input_layernorm.weight"], eps), cos, sin)
        y = rms_norm(x, w[at + "post_attention_layernorm.weight"], eps)
        y = F.silu(F.linear(y, w[at + "mlp.gate_proj.weight"])) * F.linear(
            y, w[at + "mlp.up_proj.weight"])
        return x + F.linear(y, w[at + "mlp.down_proj.weight"])

    def residual(self, ids, hooks=None, last=None):
        """The residual after block `last`, or after all of them."""
        hooks = hooks or {}
        x = F.embedding(ids, self.weights["model.embed_tokens.weight"])
        cos, sin = self.rotary(ids.shape[1])
        end = self.n_layers if last is None else last + 1
        for number in range(end):
            x = self.block(number, x, cos, sin)
            if number in hooks:
                x = hooks[number](x)
        self.flops += end * block_flops(self.config, *ids.shape)
        return x

    def logits(self, ids, hooks=None):
        x = self.residual(ids, hooks)
        x = rms_norm(x, self.weights["model.norm.weight"], self.config["rms_norm_eps"])
        self.flops += 2 * ids.numel() * self.d_model * self.config["vocab_size"]
        return F.linear(x, self.weights["lm_head.weight"])


def block_flops(config, batch, length):
    """Operations of a block's products on `batch` rows of `length` tokens."""
    d, ff = config["hidden_size"], config["intermediate_size"]
    kv = d * config["num_key_value_heads"] // config["num_attention_heads"]
    a_token = 2 * (2 * d * d + 2 * d * kv + 3 * d * ff) + 4 * length * d
    return batch * length * a_token


# ---- SAEs ----------------------------------------------------------------------------------

class Sae:
    """A TopK SAE with dense activations."""

    def __init__(self, folder, device, kind):
        _, _, self.k = sae_sizes(folder)
        tensors = folders.read_folder(folder)
        self.w_enc, self.w_dec, self.b_enc, self.b_dec = (
            tensors[name].to(device, kind) for name in ("W_enc", "W_dec", "b_enc", "b_dec"))

    def encode(self, x):
        pre = F.relu((x - self.b_dec) @ self.w_enc + self.b_enc)
        values, places = pre.topk(self.k, dim=-1)
        return torch.zeros_like(pre).scatter_(-1, places, values)

    def decode(self, active):
        return active @ self.w_dec + self.b_dec

    def flops(self, rows):
        """Operations of a product of `rows` rows with one of the two matrices."""
        return 2 * rows * self.w_dec.numel()


def sae_sizes(folder):
    """(width of the residual, latents, k) of an SAE."""
    with open(os.path.join(folder, "cfg.json"), encoding="utf-8") as file:
        config = json.load(file)
    return config["d_in"], config["d_sae"], config["k"]


def sae_folders(folder):
    """Every SAE of a set as (layer, folder)."""
    out = []
    for name in sorted(os.listdir(folder)):
        layer = int(name.rsplit("_", 1)[1])
        inner = sorted(os.listdir(os.path.join(folder, name)))
        out += [(layer, os.path.join(folder, name, trainer)) for trainer in inner]
    return sorted(out)


# ---- time ----------------------------------------------------------------------------------

def settle(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(model, work):
    """(seconds, operations) of `work`, which has been done once before so that it is warm."""
    settle(model.device)
    flops, began = model.flops, time.perf_counter()
    work()
    settle(model.device)
    return time.perf_counter() - began, model.flops - flops


def result(what, seconds, flops, scale, measured):
    return {"what": what, "seconds": seconds * scale, "flops": flops * scale, "measured": measured}


# ---- denoising -----------------------------------------------------------------------------

def nucleus(logits, temperature, top_p):
    """Probabilities at a temperature, of the most probable tokens that together have `top_p`."""
    logits = logits.float()
    if temperature > 0:
        logits = logits / temperature
    if top_p < 1:
        ordered, places = logits.sort(descending=True, dim=-1)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        ordered = ordered.masked_fill(before > top_p, -math.inf)
        logits = torch.full_like(logits, -math.inf).scatter_(-1, places, ordered)
    return logits.softmax(-1)


def confidence(probabilities, order):
    """How sure each position is; larger comes first."""
    if order == "origin":
        return torch.rand(probabilities.shape[0], device=probabilities.device)
    if order == "topk_margin":
        best = probabilities.topk(2, dim=-1).values
        return best[:, 0] - best[:, 1]
    return (probabilities * (probabilities + 1e-10).log()).sum(-1)


def take(ids, masked, tokens, sure, count):
    """Fills the `count` surest masked positions of each row."""
    score = torch.full(ids.shape, -math.inf, device=ids.device)
    score[masked] = sure.float()
    filled = ids.clone()
    filled[masked] = tokens
    places = score.topk(count, dim=1).indices
    return ids.scatter(1, places, filled.gather(1, places))


def denoise(model, prompts, new, steps, how, hooks=None):
    """Fills `new` masks after each prompt: (ids, the sequence before each step)."""
    temperature, top_p, order = how
    masks = torch.full((prompts.shape[0], new), model.mask_id, device=prompts.device)
    ids = torch.cat((prompts, masks), dim=1)
    history, left = [], new
    for step in range(steps):
        count = round(left / (steps - step))
        history.append(ids)
        logits = model.logits(ids, hooks)
        # Logits at a position are of the next one, as in Dream.
        logits = torch.cat((logits[:, :1], logits[:, :-1]), dim=1)
        masked = ids == model.mask_id
        masked[:, : prompts.shape[1]] = False
        if not count:
            continue
        probabilities = nucleus(logits[masked], temperature, top_p)
        tokens = (torch.multinomial(probabilities, 1).squeeze(-1) if temperature > 0
                  else probabilities.argmax(-1))
        # A mask that was drawn would be filled again; the loops need their number to fall.
        tokens = tokens.masked_fill(tokens == model.mask_id, 0)
        ids = take(ids, masked, tokens, confidence(probabilities, order), count)
        left -= count
    return ids, history


# ---- the loops -----------------------------------------------------------------------------

def draw(model, rows, length):
    """Random ordinary tokens."""
    generator = torch.Generator().manual_seed(folders.SEED)
    ids = torch.randint(0, model.mask_id - 8, (rows, length), generator=generator)
    return ids.to(model.device)


def steer_hook(model, sae, feature, strength):
    """Adds to one latent `strength` times the largest one of its position, and the error back."""
    def hook(x):
        active = sae.encode(x)
        error = x - sae.decode(active)
        active[..., feature] += strength * active.amax(-1)
        model.flops += 3 * sae.flops(x.shape[0] * x.shape[1])
        return sae.decode(active) + error
    return hook


def steering(model, args):
    """Each feature's texts without and with steering, its prefixes one by one or together."""
    layer, folder = sae_folders(os.path.join(args.dir, "saes"))[args.sae]
    sae = Sae(folder, model.device, model.kind)
    prompts = draw(model, args.prefixes, 6)
    how = (0.7, 0.95, "entropy")

    def feature_texts(feature, batch):
        hooks = {layer: steer_hook(model, sae, feature, 2.0)}
        for rows in prompts.split(batch):
            denoise(model, rows, 30, args.steps, how)
            denoise(model, rows, 30, args.steps, how, hooks)

    denoise(model, prompts, 30, 1, how, {layer: steer_hook(model, sae, 0, 2.0)})
    out = []
    for name, batch, measured in (("a feature's prefixes together", args.prefixes, 2),
                                  ("batch of 1", 1, 1)):
        measured = min(measured, args.features)
        seconds, flops = timed(model, lambda: [feature_texts(f, batch) for f in range(measured)])
        scale = args.features / measured
        out.append(result(name, seconds, flops, scale, f"{measured} features, scaled"))
    return out


def fidelity(model, args):
    """For each SAE a pass without and a pass with its reconstruction, costs of masked tokens."""
    found = sae_folders(os.path.join(args.dir, "saes"))
    ids = draw(model, args.rows, args.length)
    generator = torch.Generator().manual_seed(folders.SEED)
    masked = (torch.rand(ids.shape, generator=generator) < 0.275).to(model.device)
    masked[:, 0] = False
    inputs = ids.masked_fill(masked, model.mask_id)
    costs = []

    def cost(hooks):
        logits = model.logits(inputs, hooks)[:, :-1][masked[:, 1:]]
        return F.cross_entropy(logits.float(), ids[:, 1:][masked[:, 1:]]).item()

    def evaluate(layer, sae):
        def splice(x):
            model.flops += 2 * sae.flops(x.shape[0] * x.shape[1])
            return sae.decode(sae.encode(x))
        costs.append(cost({layer: splice}) - cost(None))

    measured = [found[0], found[-1]]
    saes = [(layer, Sae(folder, model.device, model.kind)) for layer, folder in measured]
    evaluate(*saes[0])
    seconds, flops = timed(model, lambda: [evaluate(*one) for one in saes])
    note = f"{len(saes)} of {len(found)} SAEs, scaled"
    return [result("two passes an SAE", seconds, flops, len(found) / len(saes), note)]


def orders(model, args):
    """Answers in one order, then their sequences once more with SAEs read at every layer."""
    found = sae_folders(os.path.join(args.dir, "saes"))
    layers = sorted({layer for layer, _ in found})
    saes = {layer: Sae(next(f for at, f in found if at == layer), model.device, model.kind)
            for layer in layers}
    kept = []

    def read(layer):
        def hook(x):
            model.flops += saes[layer].flops(x.shape[0] * args.new)
            kept.append(saes[layer].encode(x[:, -args.new:]).topk(args.k_set, dim=-1).indices)
            return x
        return hook

    hooks = {layer: read(layer) for layer in layers}

    def answer(prompts, steps):
        _, history = denoise(model, prompts, args.new, steps, (0.0, 1.0, "entropy"))
        for ids in history:
            kept.clear()
            model.residual(ids, hooks)

    prompts = draw(model, args.questions, 160)
    answer(prompts, 1)
    out = []
    for name, batch, steps in (("questions together", args.questions, max(args.steps // 4, 1)),
                               ("batch of 1", 1, max(args.steps // 8, 1))):
        seconds, flops = timed(model, lambda: answer(prompts[:batch], steps))
        scale = args.orders * args.steps / steps * args.questions / batch
        measured = f"{batch} questions of one order, {steps} steps, scaled"
        out.append(result(name, seconds, flops, scale, measured))
    return out


class Trainer:
    """Trains one TopK SAE: dense activations, autograd, Adam, unit decoder rows."""

    def __init__(self, sizes, device, autocast):
        d_model, d_sae, k = sizes
        generator = torch.Generator(device).manual_seed(folders.SEED + k)
        rows = torch.randn(d_sae, d_model, generator=generator, device=device)
        rows /= rows.norm(dim=1, keepdim=True)
        self.k, self.autocast, self.device = k, autocast, device
        self.w_dec = rows.requires_grad_()
        self.w_enc = rows.detach().T.clone().requires_grad_()
        self.b_enc = torch.zeros(d_sae, device=device, requires_grad=True)
        self.b_dec = torch.zeros(d_model, device=device, requires_grad=True)
        self.parameters = [self.w_dec, self.w_enc, self.b_enc, self.b_dec]
        self.optimiser = torch.optim.Adam(self.parameters, lr=3e-4)

    def step(self, x):
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            pre = F.relu(F.linear(x - self.b_dec, self.w_enc.T, self.b_enc))
            values, places = pre.topk(self.k, dim=-1)
            active = torch.zeros_like(pre).scatter(-1, places, values)
            loss = (active @ self.w_dec + self.b_dec - x).square().sum(-1).mean()
        loss.backward()
        with torch.no_grad():
            along = (self.w_dec.grad * self.w_dec).sum(1, keepdim=True)
            self.w_dec.grad -= along * self.w_dec
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        with torch.no_grad():
            self.w_dec /= self.w_dec.norm(dim=1, keepdim=True)


def fill_buffer(model, args, layer, generator):
    """Residuals of masked positions, until the buffer is full."""
    rows, have = [], 0
    while have < args.buffer:
        ids = draw(model, args.rows, args.length)
        masked = (torch.rand(ids.shape, generator=generator) < 0.275).to(model.device)
        x = model.residual(ids.masked_fill(masked, model.mask_id), last=layer)[masked]
        rows.append(x)
        have += x.shape[0]
    rows = torch.cat(rows)[: args.buffer]
    return rows[torch.randperm(rows.shape[0], generator=generator).to(rows.device)]


def training(model, args):
    """Steps of all SAEs of one layer for so many seconds, passes of the model included."""
    layer = args.layer
    autocast = model.kind == torch.bfloat16
    sizes = [sae_sizes(folder) for at, folder in sae_folders(os.path.join(args.dir, "saes"))
             if at == layer]
    trainers = [Trainer(of_one, model.device, autocast) for of_one in sizes]
    generator = torch.Generator().manual_seed(folders.SEED)
    steps, began = 0, None
    while began is None or time.perf_counter() - began < args.seconds:
        with torch.no_grad():
            rows = fill_buffer(model, args, layer, generator)
            scale = rows.float().square().sum(-1).mean().sqrt()
        for batch in rows.split(args.batch):
            with torch.enable_grad():
                for trainer in trainers:
                    trainer.step(batch.float() / scale)
            settle(model.device)
            if began is None:
                # The first step, with its first touches, is not counted.
                began = time.perf_counter()
                continue
            steps += 1
            if time.perf_counter() - began >= args.seconds:
                break
    seconds = time.perf_counter() - began
    rate = steps * len(trainers) / seconds
    return [{"what": "steps of an SAE a second", "rate": rate, "seconds": seconds,
             "measured": f"{steps} steps of {len(trainers)} SAEs"}]


def peak(device, kind):
    """The largest measured rate of a matrix product, in operations a second."""
    best = 0.0
    for n in (1024, 2048, 4096, 8192) if device.type == "cuda" else (512, 1024, 2048):
        a = torch.randn(n, n, device=device, dtype=torch.float32).to(kind)
        b = torch.randn(n, n, device=device, dtype=torch.float32).to(kind)
        a @ b
        settle(device)
        for _ in range(5):
            began = time.perf_counter()
            a @ b
            settle(device)
            best = max(best, 2 * n**3 / (time.perf_counter() - began))
    return best


# ---- the command ---------------------------------------------------------------------------

LOOPS = {"steering": steering, "fidelity": fidelity, "orders": orders, "training": training}


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["peak", *LOOPS])
    parser.add_argument("dir", metavar="DIR")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="f32", choices=KINDS)
    parser.add_argument("--threads", type=int, default=0, help="0 leaves it to torch")
    for name, default in (("features", 100), ("prefixes", 5), ("steps", 30), ("sae", 0),
                          ("rows", 8), ("length", 2048), ("questions", 4), ("new", 128),
                          ("orders", 3), ("k-set", 50), ("layer", 0), ("batch", 2048),
                          ("buffer", 32768)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=15.0, help="of training")
    return parser.parse_args(arguments)


def main():
    args = parse(sys.argv[1:])
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(folders.SEED)
    device, kind = torch.device(args.device), KINDS[args.dtype]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    answer = {"torch": torch.__version__, "device": name, "cuda": torch.version.cuda}
    with torch.no_grad():
        if args.what == "peak":
            answer["results"] = [{"what": "matrix product", "rate": peak(device, kind)}]
        else:
            model = Decoder(os.path.join(args.dir, "model"), device, kind)
            answer["results"] = LOOPS[args.what](model, args)
    if device.type == "cuda":
        answer["free_bytes"], answer["total_bytes"] = torch.cuda.mem_get_info(device)
        answer["largest_bytes"] = torch.cuda.max_memory_allocated(device)
    print(json.dumps(answer))


if __name__ == "__main__":
    sys.exit(main())
