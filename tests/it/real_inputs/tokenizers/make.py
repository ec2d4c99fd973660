"""Trains tiny tokenizers of each kind and records what transformers makes of them and of chat templates.

    python make.py        # needs transformers 5 and tokenizers; writes tokenizers.json and templates.json here

The Rust tests compare with the two files and need neither. Run it again when a kind or a text is added.
"""

import copy
import datetime
import json
import pathlib
import tempfile

import transformers
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).parent

CORPUS = [
    "The river runs past the old mill, and the miller's daughter counts 12 boats in 1984.",
    "It isn't far: they'll walk 3.5 km along the bank, don't you think? I'd say so!",
    "Rain, snow and wind; the garden sleeps. \"Who goes there?\" asked the guard (twice).",
    "def walk(path):\n    for step in path:\n\tprint(step)\n\n    return len(path)  # done",
    "Les élèves étudient à l'école; où est le café? Übermut tut selten gut. El niño comió piña.",
    "Быстрая лиса прыгает через ленивую собаку. Привет, мир!",
    "河は古い水車小屋を過ぎて流れる。今日は良い天気です。",
    "نهر قديم يمر بجانب الطاحونة. שלום עולם, מה שלומך?",
    "แม่น้ำไหลผ่านโรงสีเก่า วันนี้อากาศดี",
    "the the the and and and of of in in to to a a river river mill mill boats boats",
] * 4

TEXTS = [
    "",
    " ",
    "a",
    "The river runs past the old mill.",
    " The river",
    "The river ",
    "  two  blanks   three    four",
    "\n",
    "\n\n\nafter lines\n",
    "tab\there\t\ttwice\t",
    "line\r\nends\r\nof Windows\r",
    "mixed \n \t \r\n blanks",
    "It isn't; they'll, I'd, we've, DON'T",
    "1984 12 3.14159 1,000,000 7e-5 0x1F",
    "2024-07-26T10:00:00Z",
    "x=y+z*(a-b)/c; // ok? != ==",
    "CamelCaseAndsnake_case_words",
    "https://example.org/a?b=c&d=%20#e",
    "caf\u00e9 na\u00efve",
    "cafe\u0301 nai\u0308ve",
    "\u212b \ufb01 \u00bd \u2460 \uff21\uff22",
    "Übermut tut selten gut — „ja“",
    "Привет, мир!",
    "河は古い水車小屋を過ぎて流れる。",
    "汉字 and kana かな together",
    "한국어 텍스트",
    "แม่น้ำไหลผ่านโรงสีเก่า",
    "نهر قديم يمر",
    "שלום עולם",
    "हिन्दी में नमस्ते",
    "\U0001f600",
    "a\U0001f600b \U0001f468\u200d\U0001f469\u200d\U0001f467 end",
    "\U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea",
    "\u2764\ufe0f\u200b zero\u200bwidth\u00a0nbsp",
    "control \u0001\u0007\u001b[0m \u007f",
    "\u2028line\u2029paragraph\u0085next",
    "\ufeffbom first",
    "\U00020000\U0001f9ff rare planes",
    "<s>inside</s> of <unk> text",
    "<|endoftext|>The end<|endoftext|>",
    "word<x>glued <x> apart<x>.",
    "[CLS] not [SEP] special [MASK]",
    "<0x41> is no byte",
    "▁already▁marked ▁ ▁",
    "Ġbytes Ċ shown",
    "##piece ##s",
    "a" * 60,
    "the and of in to a river mill",
    "Don ' t . What ? No ! so , it 's",
    "trailing blanks   \n  ",
]

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2_SPLIT = LLAMA3_SPLIT.replace("{1,3}", "")


def special(content, **flags):
    return AddedToken(content, special=True, **flags)


def byte_level(split, normalizer=None, ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    if split:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def sentencepiece_bpe():
    """Vocabulary and pipeline as converted LLaMA-2 files have them."""
    byte_tokens = [f"<0x{i:02X}>" for i in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(vocab_size=460, special_tokens=["<unk>", "<s>", "</s>", *byte_tokens],
                                  limit_alphabet=40, show_progress=False)
    tokenizer.train_from_iterator([line[:80] for line in CORPUS[:12]], trainer)
    description = json.loads(tokenizer.to_str())
    description["added_tokens"] = [t for t in description["added_tokens"] if t["id"] < 3]
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [("<s>", 1)])
    return tokenizer


def metaspace_bpe(scheme):
    description = json.loads(sentencepiece_bpe().to_str())
    description["normalizer"] = None
    description["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}
    return Tokenizer.from_str(json.dumps(description))


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>",
                                      show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A $B </s>", [("</s>", 2)])
    return tokenizer


def wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=50))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=360, special_tokens=names, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", [("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


def with_added(tokenizer, *tokens):
    tokenizer.add_tokens(list(tokens))
    return tokenizer


def entry(content, **flags):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
            "special": False, **flags}


def folders():
    """Name, files and texts of each folder. A tokenizer that is used twice is stored once, by its name."""
    generic = {"tokenizer_class": "PreTrainedTokenizerFast"}
    end = special("<|endoftext|>")
    x = AddedToken("<x>", normalized=False)
    gpt2 = with_added(byte_level(None), end)
    qwen = with_added(byte_level(QWEN2_SPLIT, normalizers.NFC()), end, x)
    llama3 = with_added(byte_level(LLAMA3_SPLIT, ignore_merges=True), special("<|begin|>"), end, x)
    llama3.post_processor = processors.TemplateProcessing(
        "<|begin|> $A", "<|begin|> $A $B", [("<|begin|>", llama3.token_to_id("<|begin|>"))])
    llama2 = with_added(sentencepiece_bpe(), x)
    kinds = [
        ("gpt2", "gpt2", gpt2, {"tokenizer_class": "GPT2Tokenizer"}),
        ("qwen2", "qwen2", qwen, {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|endoftext|>"}),
        ("llama3", "llama", llama3, {**generic, "bos_token": "<|begin|>", "eos_token": "<|endoftext|>"}),
        ("llama2-normalizer", "llama", llama2, {**generic, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}),
        ("llama2-first", "llama", metaspace_bpe("first"), {**generic, "bos_token": "<s>", "eos_token": "</s>"}),
        ("unigram", "llama", unigram(), {**generic, "eos_token": "</s>", "unk_token": "<unk>"}),
        ("wordpiece", "llama", wordpiece(), {**generic, "unk_token": "[UNK]", "cls_token": "[CLS]"}),
    ]
    for name, model_type, tokenizer, config in kinds:
        yield name, model_type, name, json.loads(tokenizer.to_str()), {"tokenizer_config.json": config}, TEXTS
    few = [TEXTS[i] for i in (3, 4, 6, 13, 18, 19, 31, 38, 39, 40, 43)] + [
        "<|im_start|>user\nHi<|im_end|>", "a <pad> b", "one <image> two", "left <l> right <r> x", "aword word wordy"]

    def variant(name, model_type, base, files):
        return name, model_type, base, None, files, few

    llama_config = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    yield variant("llama2-class", "llama", "llama2-normalizer", {"tokenizer_config.json": llama_config})
    yield variant("llama2-class-legacy", "llama", "llama2-normalizer",
                  {"tokenizer_config.json": {**llama_config, "legacy": True}})
    yield variant("llama2-class-no-prefix", "llama", "llama2-normalizer",
                  {"tokenizer_config.json": {**llama_config, "add_prefix_space": False}})
    yield variant("llama2-class-add-eos", "llama", "llama2-normalizer",
                  {"tokenizer_config.json": {**llama_config, "add_eos_token": True, "add_bos_token": False}})
    yield variant("llama3-as-llama-class", "llama", "llama3",
                  {"tokenizer_config.json": {**llama_config, "add_bos_token": False}})
    yield variant("gpt2-prefix", "gpt2", "gpt2",
                  {"tokenizer_config.json": {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True}})
    yield variant("gpt2-prefix-generic", "llama", "gpt2", {"tokenizer_config.json": {**generic, "add_prefix_space": True}})
    yield variant("gpt2-no-config", "gpt2", "gpt2", {})
    yield variant("gpt2-class-of-llama", "llama", "llama3", {"tokenizer_config.json": {"tokenizer_class": "GPT2Tokenizer"}})
    yield variant("qwen2-generic-config", "qwen2", "gpt2", {"tokenizer_config.json": {**generic, "eos_token": "<|endoftext|>"}})
    n = len(gpt2.get_vocab())
    listed = {str(n): entry("<|im_start|>", special=True), str(n + 1): entry("<|im_end|>", special=True),
              str(n + 2): entry("<x>"), str(n + 3): entry("<l>", lstrip=True), str(n + 4): entry("<r>", rstrip=True),
              str(n + 5): entry("word", single_word=True, normalized=True)}
    yield variant("listed", "llama", "gpt2", {"tokenizer_config.json": {**generic, "added_tokens_decoder": listed}})
    yield variant("listed-elsewhere", "llama", "gpt2", {"tokenizer_config.json": {
        **generic, "added_tokens_decoder": {str(n + 50): entry("<x>"), str(n + 9): entry("<|im_end|>", special=True)}}})
    yield variant("listed-for-class", "gpt2", "gpt2", {"tokenizer_config.json": {
        "tokenizer_class": "GPT2Tokenizer", "eos_token": "<|endoftext|>", "added_tokens_decoder": listed}})
    yield variant("lost", "qwen2", "qwen2", {"tokenizer_config.json": {
        "tokenizer_class": "Qwen2Tokenizer",
        "added_tokens_decoder": {str(qwen.token_to_id("<|endoftext|>")): entry("<|endoftext|>", special=True)}}})
    yield variant("other-flags", "llama", "gpt2", {"tokenizer_config.json": {
        **generic, "added_tokens_decoder": {str(n - 1): entry("<|endoftext|>", special=False, rstrip=True)}}})
    yield variant("named", "llama", "gpt2", {"tokenizer_config.json": {
        **generic, "pad_token": "<pad>", "eos_token": "<|im_end|>", "image_token": "<image>",
        "additional_special_tokens": ["<|im_start|>", "<x>"]}})
    yield variant("extra", "llama", "gpt2", {"tokenizer_config.json": {**generic, "extra_special_tokens": ["<x>", "<|im_end|>"]}})
    yield variant("extra-named", "llama", "gpt2", {"tokenizer_config.json": {
        **generic, "extra_special_tokens": {"image_token": "<image>", "x_token": "<x>"}}})
    yield variant("map", "llama", "gpt2", {
        "tokenizer_config.json": {**generic, "eos_token": "</s>"},
        "special_tokens_map.json": {"eos_token": entry("<|im_end|>", lstrip=True), "pad_token": "<pad>"}})
    yield variant("added-tokens-file", "llama", "gpt2", {
        "tokenizer_config.json": {**generic, "eos_token": "<|im_end|>"},
        "added_tokens.json": {"<x>": n, "<|im_end|>": n + 1}})
    yield variant("map-ignored", "llama", "gpt2", {
        "tokenizer_config.json": {**generic, "added_tokens_decoder": {str(n): entry("<x>", special=True)}},
        "special_tokens_map.json": {"pad_token": "<pad>"}, "added_tokens.json": {"<image>": n + 1}})
    yield variant("split-special", "llama", "gpt2", {"tokenizer_config.json": {**generic, "split_special_tokens": True}})
    yield variant("clean-up-bpe", "llama", "gpt2", {
        "tokenizer_config.json": {**generic, "clean_up_tokenization_spaces": True}})
    yield variant("clean-up-unigram", "llama", "unigram", {
        "tokenizer_config.json": {**generic, "clean_up_tokenization_spaces": True}})
    yield variant("vocab-files", "gpt2", "gpt2", {
        "tokenizer.json": None, "parts": True, "tokenizer_config.json": {
            "tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "added_tokens_decoder": {
                str(n - 1): entry("<|endoftext|>", special=True)}}})


def pieces(tokenizer, ids):
    """Text of each token; a character of several tokens stands at the last of them. None where texts do not add up."""
    out, shown = [], ""
    for i in range(len(ids)):
        text = tokenizer.decode(ids[: i + 1], clean_up_tokenization_spaces=False)
        if text.endswith("\ufffd"):
            out.append("")
            continue
        if not text.startswith(shown):
            return None
        out.append(text[len(shown):])
        shown = text
    return out if shown == tokenizer.decode(ids, clean_up_tokenization_spaces=False) else None


def record(folder, texts):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    cases = []
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        plain = tokenizer(text, add_special_tokens=False)["input_ids"]
        half = len(ids) // 2
        prompt, whole = (tokenizer.decode(part, skip_special_tokens=True) for part in (ids[:half], ids))
        case = {"text": text, "ids": ids, "decoded": tokenizer.decode(ids), "pieces": pieces(tokenizer, ids)}
        if plain != ids:
            case["plain"] = plain
        if whole != case["decoded"]:
            case["visible"] = whole
        if whole.startswith(prompt):
            case["rest"] = whole[len(prompt):]
        cases.append(case)
    return {"vocab_len": len(tokenizer), "cases": cases,
            "names": {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}}


def write_parts(folder, description):
    model = description["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")


def tokenizers():
    stored, out = {}, []
    for name, model_type, base, description, files, texts in folders():
        if description is not None:
            for part in ("padding", "truncation"):
                description.pop(part, None)
            stored[base] = description
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            files = copy.deepcopy(files)
            (folder / "config.json").write_text(json.dumps({"model_type": model_type, "vocab_size": 1000}))
            if files.pop("parts", False):
                write_parts(folder, stored[base])
            else:
                (folder / "tokenizer.json").write_text(json.dumps({**stored[base], "padding": None, "truncation": None}))
            is_parts = "tokenizer.json" in files
            files.pop("tokenizer.json", None)
            for file, content in files.items():
                (folder / file).write_text(json.dumps(content))
            found = record(folder, texts)
        out.append({"name": name, "model_type": model_type, "base": base, "parts": is_parts, "files": files, **found})
    return {"transformers": transformers.__version__, "tokenizers": stored, "folders": out}


MESSAGES = [
    {"role": "system", "content": "You are terse."},
    {"role": "user", "content": " Where is the café? It's <here> & \"there\" \U0001f600\n"},
    {"role": "assistant", "content": "At the mill.\r\nNo."},
    {"role": "user", "content": "100% sure?"},
]

TEMPLATES = json.loads((HERE / "templates_in.json").read_text())


def templates():
    class Pinned(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2024, 7, 26)

    chat_template_utils.datetime = Pinned
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=byte_level(None), bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    out = []
    for template in TEMPLATES:
        for prompt in (True, False):
            try:
                text = tokenizer.apply_chat_template(MESSAGES, chat_template=template, tokenize=False,
                                                     add_generation_prompt=prompt)
            except Exception as error:
                print("refused by transformers:", template, "|", error)
                text = None
            if out and not prompt and out[-1]["text"] == text:
                continue
            out.append({"template": template, "add_generation_prompt": prompt, "text": text})
    return {"transformers": transformers.__version__, "messages": MESSAGES, "cases": out}


def write(name, value):
    (HERE / name).write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    write("tokenizers.json", tokenizers())
    write("templates.json", templates())
