"""Makes the fixtures beside this file: tiny random models and what transformers 5 computes of them.

    python3 make.py            # with torch, transformers 5 and safetensors installed

One weight file serves several cases, which differ in their config.json alone. A case holds the
configuration and the logits of a text that is longer than `max_position_embeddings` and the first
training. Where frequencies depend on the length, also those of a short text, and of the long one
computed a token at a time on stored keys and values.
"""

import json
import pathlib
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
SHORT, LONG = 20, 56
TOKENS = [(7 * i * i + 3 * i + 5) % 32 for i in range(LONG)]

LLAMA = {
    "model_type": "llama",
    "vocab_size": 32,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 24,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500.0,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
}
QWEN2 = {**LLAMA, "model_type": "qwen2"}
GPT2 = {
    "model_type": "gpt2",
    "vocab_size": 32,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 64,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
}
BIASES = {"attention_bias": True, "mlp_bias": True}


def without(config, *keys):
    return {key: value for key, value in config.items() if key not in keys}


def scaled(config, **scaling):
    return {**config, "rope_scaling": scaling}


def yarn(config, **more):
    return scaled(config, rope_type="yarn", factor=3.0, original_max_position_embeddings=16, **more)


BARE = without(LLAMA, "rope_theta", "rms_norm_eps", "tie_word_embeddings")
WINDOW = {**QWEN2, "use_sliding_window": True, "sliding_window": 8}
LLAMA3 = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
CASES = {
    "llama": ("llama", LLAMA),
    "llama-defaults": ("llama", BARE),
    "theta-beside-parameters": ("llama", {**LLAMA, "rope_parameters": {"rope_type": "default"}}),
    "theta-in-parameters": (
        "llama",
        {**BARE, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
    ),
    "scaling-before-parameters": (
        "llama",
        {
            **LLAMA,
            "rope_parameters": {"rope_type": "default", "rope_theta": 90.0},
            "rope_scaling": {"type": "linear", "factor": 2.0},
        },
    ),
    "linear": ("llama", scaled(LLAMA, rope_type="linear", factor=3.0)),
    "dynamic": ("llama", scaled(LLAMA, type="dynamic", factor=3.0)),
    "llama3": (
        "llama",
        scaled(LLAMA, rope_type="llama3", original_max_position_embeddings=16, **LLAMA3),
    ),
    "llama3-length-beside": (
        "llama",
        {
            **scaled(LLAMA, rope_type="llama3", **LLAMA3),
            "original_max_position_embeddings": 12,
        },
    ),
    "yarn": ("llama", yarn(LLAMA)),
    "yarn-length-beside": (
        "llama",
        {
            **scaled(LLAMA, type="yarn", factor=4.0, original_max_position_embeddings=20),
            "original_max_position_embeddings": 12,
        },
    ),
    "yarn-length-left-out": ("llama", scaled(LLAMA, rope_type="yarn", factor=3.0)),
    "yarn-factor-null": (
        "llama",
        scaled(LLAMA, rope_type="yarn", factor=None, original_max_position_embeddings=8),
    ),
    "yarn-attention-factor": ("llama", yarn(LLAMA, attention_factor=1.4)),
    "yarn-mscale": ("llama", yarn(LLAMA, mscale=0.7, mscale_all_dim=1.9)),
    "yarn-mscale-zero": ("llama", yarn(LLAMA, mscale=0.7, mscale_all_dim=0.0)),
    "yarn-betas": ("llama", yarn(LLAMA, beta_fast=4.0, beta_slow=0.5)),
    "yarn-not-truncated": ("llama", yarn(LLAMA, beta_fast=3, beta_slow=1, truncate=False)),
    "llama-biases": ("llama-biases", {**LLAMA, **BIASES}),
    "llama-gelu": ("llama", {**LLAMA, "hidden_act": "gelu"}),
    "llama-gelu-tanh": ("llama", {**LLAMA, "hidden_act": "gelu_pytorch_tanh"}),
    "llama-relu": ("llama", {**LLAMA, "hidden_act": "relu"}),
    "llama-head-kept": ("llama", {**LLAMA, "tie_word_embeddings": True}),
    "qwen2": ("qwen2", QWEN2),
    "qwen2-dynamic": ("qwen2", scaled(QWEN2, rope_type="dynamic", factor=2.5)),
    "qwen2-yarn": ("qwen2", yarn(QWEN2)),
    "qwen2-head-kept": ("qwen2", {**QWEN2, "tie_word_embeddings": True}),
    "qwen2-bias-settings-unread": ("qwen2", {**QWEN2, **BIASES}),
    "window-above-the-last-layer": ("qwen2", {**WINDOW, "max_window_layers": 2}),
    "window-as-long-as-the-context": (
        "qwen2",
        {**WINDOW, "sliding_window": 64, "max_window_layers": 0, "max_position_embeddings": 64},
    ),
    "window-in-no-layer": (
        "qwen2",
        {**WINDOW, "max_window_layers": 0, "layer_types": ["full_attention"] * 2},
    ),
    "window-not-used": ("qwen2", {**WINDOW, "use_sliding_window": False}),
    "window-without-length": ("qwen2", {**WINDOW, "sliding_window": None, "max_window_layers": 0}),
    "gpt2-untied": ("gpt2", GPT2),
    "gpt2-head-kept": ("gpt2", without(GPT2, "tie_word_embeddings")),
    "gpt2-common-names": (
        "gpt2",
        {
            **without(GPT2, "n_embd", "n_layer", "n_head", "n_positions"),
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 64,
        },
    ),
    **{
        f"gpt2-{name}": ("gpt2", {**GPT2, "activation_function": name})
        for name in (
            "gelu gelu_fast gelu_pytorch_tanh gelu_accurate quick_gelu relu silu".split()
        )
    },
    "gpt2-scores-not-scaled": ("gpt2", {**GPT2, "scale_attn_weights": False}),
    "gpt2-scores-by-layer": ("gpt2", {**GPT2, "scale_attn_by_inverse_layer_idx": True}),
    "gpt2-scores-by-layer-alone": (
        "gpt2",
        {**GPT2, "scale_attn_by_inverse_layer_idx": True, "scale_attn_weights": False},
    ),
}
WEIGHTS = {
    "llama": LLAMA,
    "llama-biases": {**LLAMA, **BIASES},
    "qwen2": QWEN2,
    "gpt2": GPT2,
}
DEFAULTS = {
    "qwen2": [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "max_position_embeddings",
    ],
    "llama": [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "max_position_embeddings",
        "eos_token_id",
    ],
    "gpt2": ["vocab_size", "n_embd", "n_layer", "n_head", "n_positions", "eos_token_id"],
}


def make_weights():
    for number, (name, config) in enumerate(WEIGHTS.items()):
        torch.manual_seed(number)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
        for key, value in model.named_parameters():
            is_norm = value.dim() == 1 and key.endswith("weight")
            with torch.no_grad():
                value.copy_(torch.randn_like(value) * 0.3 + (1.0 if is_norm else 0.0))
        tensors = {key: value.bfloat16() for key, value in model.named_parameters()}
        save_file(tensors, HERE / f"{name}.safetensors", metadata={"format": "pt"})


def load(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval()


def measured(folder, length):
    """A new model each time: dynamic scaling remembers the longest text it has seen."""
    return load(folder)(torch.tensor([TOKENS[:length]]), use_cache=False).logits[0]


def cached(folder):
    model = load(folder)
    out = model(torch.tensor([TOKENS[:SHORT]]), use_cache=True)
    logits = [out.logits[0]]
    for token in TOKENS[SHORT:]:
        out = model(
            torch.tensor([[token]]), past_key_values=out.past_key_values, use_cache=True
        )
        logits.append(out.logits[0])
    return torch.cat(logits)


def main():
    make_weights()
    expected, cases = {}, {}
    for name, (weights, config) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "config.json").write_text(json.dumps(config))
            tensors = load_file(HERE / f"{weights}.safetensors")
            save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
            with torch.no_grad():
                expected[f"{name}.long"] = measured(folder, LONG)
                if "dynamic" in name:
                    expected[f"{name}.short"] = measured(folder, SHORT)
                    expected[f"{name}.cached"] = cached(folder)
        cases[name] = {"weights": weights, "config": config}
    expected = {key: value.contiguous().clone() for key, value in expected.items()}
    save_file(expected, HERE / "expected.safetensors")
    defaults = {
        family: {key: getattr(AutoConfig.for_model(family), key) for key in keys}
        for family, keys in DEFAULTS.items()
    }
    about = {
        "transformers": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
        "tokens": TOKENS,
        "short": SHORT,
        "cases": cases,
        "defaults": defaults,
    }
    (HERE / "cases.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
