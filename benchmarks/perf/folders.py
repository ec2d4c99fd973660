#!/usr/bin/env python3
"""Folders of random weights in the layouts of published ones: a Dream checkpoint, SAEs, texts.

  folders.py [--size small|medium] [--device cuda:0] DIR

The full size is that of Dream-7B with SAEs of 16,384 latents. The others have the same form: small
ones fit every machine, and medium ones have Dream-7B's number of blocks and of SAEs. Below DIR lie
`model` (bf16, in shards, with an index and a tokenizer), `saes` (SAELens' layout, f32),
`text.jsonl` and `questions.jsonl`. The SAEs of one layer differ in k alone and share one file of
weights by hard links. Needs torch and nothing else."""
import argparse
import ctypes
import dataclasses
import json
import math
import os
import random
import struct
import sys

SHARD_BYTES = 4 << 30
SEED = 3407
# The standard deviation of the logits: predictions about as sure as a trained model's. With flat
# ones the nucleus of a sampler would hold nearly the whole vocabulary.
LOGIT_DEVIATION = 4.0
# Safetensors' names of the number formats used here, and the bytes of a number.
FORMATS = {"BF16": 2, "F32": 4}


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes of a model and of the SAEs that read it."""

    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_ff: int
    vocab_size: int
    mask_id: int
    d_sae: int
    sae_layers: tuple
    k: tuple

    @property
    def head_dim(self):
        return self.d_model // self.n_heads

    @property
    def end_id(self):
        """The token that ends a text; the special tokens follow it up to the mask token."""
        return self.mask_id - len(SPECIAL_TOKENS) + 1


FULL = Shape(3584, 28, 28, 4, 18944, 152064, 151666, 16384, (1, 5, 10, 14, 23, 27),
             (50, 80, 160, 320, 520, 820))
MEDIUM = Shape(256, 28, 4, 2, 1344, 32000, 31990, 4096, FULL.sae_layers, FULL.k)
SMALL = Shape(256, 4, 4, 2, 1344, 4096, 4090, 1024, (1, 3), (16, 64))
SHAPES = {"full": FULL, "medium": MEDIUM, "small": SMALL}

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|beginoftext|>", "<|mask|>")
CHAT_TEMPLATE = (
    "{% for turn in messages %}{{ '<|im_start|>' + turn['role'] + '\n' + turn['content'] + "
    "'<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% endif %}"
)


# ---- safetensors ---------------------------------------------------------------------------

def header(specs):
    """(bytes of the header, offsets) of tensors given as (name, format, shape), in this order."""
    entries, at = {}, 0
    for name, number_format, shape in specs:
        end = at + FORMATS[number_format] * math.prod(shape)
        entries[name] = {"dtype": number_format, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    # The data begins at a multiple of eight, so that a mapped file can be viewed as numbers.
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write_safetensors(path, specs, make):
    """Writes a file of the tensors of `specs`; `make(name, shape)` gives each when it is its turn.

    Only one tensor is held at a time."""
    with open(path, "wb") as file:
        file.write(header(specs))
        for name, number_format, shape in specs:
            tensor = make(name, shape).contiguous().cpu()
            size = FORMATS[number_format] * math.prod(shape)
            if tensor.numel() * tensor.element_size() != size:
                raise ValueError(f"tensor {name} has another size than {number_format} {shape}")
            if size:
                file.write((ctypes.c_char * size).from_address(tensor.data_ptr()))


def read_safetensors(path):
    """The tensors of a file by name, mapped and not copied."""
    import torch

    kinds = {"BF16": torch.bfloat16, "F32": torch.float32}
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entries = json.loads(file.read(length))
    data = torch.from_file(path, shared=False, size=os.path.getsize(path), dtype=torch.uint8)
    tensors = {}
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = data[begin:end].view(kinds[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def read_folder(folder):
    """The tensors of all safetensors files of a folder."""
    tensors = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            tensors.update(read_safetensors(os.path.join(folder, name)))
    return tensors


# ---- the model -----------------------------------------------------------------------------

def parameters(shape):
    """(name, shape) of every tensor of a Dream checkpoint, in the order of its layers."""
    d, kv = shape.d_model, shape.n_kv_heads * shape.head_dim
    out = [("model.embed_tokens.weight", (shape.vocab_size, d))]
    for layer in range(shape.n_layers):
        at = f"model.layers.{layer}."
        out += [(at + "input_layernorm.weight", (d,))]
        for name, rows in (("q", d), ("k", kv), ("v", kv)):
            out += [(f"{at}self_attn.{name}_proj.weight", (rows, d)),
                    (f"{at}self_attn.{name}_proj.bias", (rows,))]
        out += [(at + "self_attn.o_proj.weight", (d, d)),
                (at + "post_attention_layernorm.weight", (d,)),
                (at + "mlp.gate_proj.weight", (shape.d_ff, d)),
                (at + "mlp.up_proj.weight", (shape.d_ff, d)),
                (at + "mlp.down_proj.weight", (d, shape.d_ff))]
    return out + [("model.norm.weight", (d,)), ("lm_head.weight", (shape.vocab_size, d))]


def config(shape):
    """config.json of a Dream checkpoint."""
    return {
        "architectures": ["DreamModel"], "model_type": "Dream", "torch_dtype": "bfloat16",
        "hidden_size": shape.d_model, "intermediate_size": shape.d_ff,
        "num_hidden_layers": shape.n_layers, "num_attention_heads": shape.n_heads,
        "num_key_value_heads": shape.n_kv_heads, "vocab_size": shape.vocab_size,
        "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "rope_scaling": None,
        "max_position_embeddings": 131072, "tie_word_embeddings": False, "attention_dropout": 0.0,
        "initializer_range": 0.02, "use_sliding_window": False, "sliding_window": None,
        "mask_token_id": shape.mask_id, "bos_token_id": shape.end_id,
        "eos_token_id": shape.end_id, "pad_token_id": shape.end_id,
    }


def shards(specs, limit=SHARD_BYTES):
    """Consecutive tensors in groups of at most `limit` bytes, or of one tensor that is larger."""
    groups, size = [[]], 0
    for name, number_format, shape in specs:
        own = FORMATS[number_format] * math.prod(shape)
        if groups[-1] and size + own > limit:
            groups.append([])
            size = 0
        groups[-1].append((name, number_format, shape))
        size += own
    return groups


def write_model(folder, shape, device):
    """Writes a checkpoint of random weights that are made on `device`."""
    import torch

    os.makedirs(folder)
    generator = torch.Generator(device).manual_seed(SEED)

    def make(name, size):
        if "norm" in name:
            return torch.ones(size, dtype=torch.bfloat16)
        drawn = torch.randn(size, generator=generator, device=device, dtype=torch.float32)
        # The head reads rows of unit mean square.
        is_head = name == "lm_head.weight"
        deviation = LOGIT_DEVIATION / math.sqrt(shape.d_model) if is_head else 0.02
        return (drawn * deviation).to(torch.bfloat16)

    groups = shards([(name, "BF16", size) for name, size in parameters(shape)])
    places = {}
    for number, group in enumerate(groups, 1):
        file = f"model-{number:05}-of-{len(groups):05}.safetensors"
        write_safetensors(os.path.join(folder, file), group, make)
        places.update({name: file for name, _, _ in group})
    total = sum(2 * math.prod(size) for _, size in parameters(shape))
    index = {"metadata": {"total_size": total}, "weight_map": places}
    write_json(os.path.join(folder, "model.safetensors.index.json"), index)
    write_json(os.path.join(folder, "config.json"), config(shape))
    write_tokenizer(folder, shape)


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)


# ---- tokens and texts ----------------------------------------------------------------------

def word(token_id):
    """The spelling of an ordinary token: a word of lower-case letters, another one for each id."""
    letters = []
    rest = token_id + 26
    while rest:
        rest, letter = divmod(rest, 26)
        letters.append(chr(ord("a") + letter))
    return "".join(reversed(letters))


def tokenizer(shape):
    """tokenizer.json: a token a word, so that lengths in tokens are known; the rest is unknown."""
    vocab = {word(token): token for token in range(shape.end_id - 1)}
    vocab["<unk>"] = shape.end_id - 1
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": True}
    added = [{"id": shape.end_id + i, "content": content, **flags}
             for i, content in enumerate(SPECIAL_TOKENS)]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None,
        "decoder": None, "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
    }


def write_tokenizer(folder, shape):
    names = {"bos_token": SPECIAL_TOKENS[3], "eos_token": SPECIAL_TOKENS[0],
             "pad_token": SPECIAL_TOKENS[0], "mask_token": SPECIAL_TOKENS[4]}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT_TEMPLATE,
                "clean_up_tokenization_spaces": False, "model_max_length": 131072, **names}
    write_json(os.path.join(folder, "tokenizer.json"), tokenizer(shape))
    write_json(os.path.join(folder, "tokenizer_config.json"), settings)
    write_json(os.path.join(folder, "special_tokens_map.json"), names)


def words(draws, n, shape):
    return " ".join(word(draws.randrange(shape.end_id - 1)) for _ in range(n))


def write_text(path, shape, documents, length):
    """Writes documents of so many tokens, as JSON lines."""
    draws = random.Random(SEED)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(documents):
            file.write(json.dumps({"text": words(draws, length, shape)}) + "\n")


def write_questions(path, shape, count, length):
    """Writes questions of one length, so that they go through the model together."""
    draws = random.Random(SEED + 1)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(count):
            answer = f"{words(draws, 8, shape)}\n#### {draws.randrange(1000)}"
            question = {"question": words(draws, length, shape), "answer": answer}
            file.write(json.dumps(question) + "\n")


# ---- SAEs ----------------------------------------------------------------------------------

def sae_config(shape, layer, k):
    """cfg.json of an SAE in SAELens' layout."""
    return {
        "architecture": "topk", "d_in": shape.d_model, "d_sae": shape.d_sae, "k": k,
        "dtype": "float32", "device": "cpu", "apply_b_dec_to_input": True,
        "normalize_activations": "none", "reshape_activations": "none",
        "rescale_acts_by_decoder_norm": False,
        "metadata": {"hook_name": f"blocks.{layer}.hook_resid_post"},
    }


def write_saes(folder, shape, device):
    """Writes SAEs: unit decoder rows in random directions, the encoder their transpose."""
    import torch

    specs = [("W_dec", "F32", (shape.d_sae, shape.d_model)),
             ("W_enc", "F32", (shape.d_model, shape.d_sae)),
             ("b_dec", "F32", (shape.d_model,)), ("b_enc", "F32", (shape.d_sae,))]
    for layer in shape.sae_layers:
        generator = torch.Generator(device).manual_seed(SEED + layer)
        rows = torch.randn(specs[0][2], generator=generator, device=device)
        rows /= rows.norm(dim=1, keepdim=True)
        tensors = {"W_dec": rows, "W_enc": rows.T}
        first = None
        for number, k in enumerate(shape.k):
            place = os.path.join(folder, f"resid_post_layer_{layer}", f"trainer_{number}")
            os.makedirs(place)
            write_json(os.path.join(place, "cfg.json"), sae_config(shape, layer, k))
            weights = os.path.join(place, "sae_weights.safetensors")
            if first is None:
                write_safetensors(weights, specs,
                                  lambda name, size: tensors.get(name, torch.zeros(size)))
                first = weights
            else:
                os.link(first, weights)


def bytes_needed(shape):
    """Bytes of the weights on the disk, or in the memory that stands for one."""
    model = sum(2 * math.prod(size) for _, size in parameters(shape))
    sae = 4 * (2 * shape.d_sae * shape.d_model + shape.d_sae + shape.d_model)
    return model + sae * len(shape.sae_layers)


def write_all(folder, shape, device, documents, length):
    write_model(os.path.join(folder, "model"), shape, device)
    write_saes(os.path.join(folder, "saes"), shape, device)
    write_text(os.path.join(folder, "text.jsonl"), shape, documents, length)
    write_questions(os.path.join(folder, "questions.jsonl"), shape, 4, 160)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SHAPES, default="full", help="[default: full]")
    parser.add_argument("--device", default="cpu", help="where weights are drawn")
    parser.add_argument("dir", metavar="DIR", help="a folder that does not exist yet, or is empty")
    args = parser.parse_args()
    shape = SHAPES[args.size]
    write_all(args.dir, shape, args.device, documents=300, length=2100 if shape is FULL else 260)
    print(json.dumps({"bytes": bytes_needed(shape)}))


if __name__ == "__main__":
    sys.exit(main())
