"""Checkpoints of a few thousand random weights and the tokenizers beside them, made on the spot."""

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCABULARY = 320
TAGS = ("<search>", "</search>", "<answer>", "</answer>")
_SENTENCES = ["the capital of France is Paris .", "who wrote <search> the film </search>\n of the year ?", "an <answer> x.y </answer>. ok"]


def word_level() -> PreTrainedTokenizerFast:
    """One token a word, tags included; padded with made-up words to VOCABULARY tokens."""
    words = ["<pad>", "<eos>", "<unk>", *TAGS, *sorted({w for s in _SENTENCES for w in s.split() if w not in TAGS})]
    words += [f"w{i}" for i in range(VOCABULARY - len(words))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def byte_level() -> PreTrainedTokenizerFast:
    """Byte-level BPE, in which a tag is several tokens and `>` can share a token with what follows."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<pad>", "<eos>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), max_token_length=6,
    )  # fmt: skip
    tokenizer.train_from_iterator(["x>\n", "y>\n", "z>.", "a>.", *_SENTENCES] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def model(kind: str, seed: int = 0, max_position_embeddings: int = 160) -> Any:
    """A random causal LM; `kind` is qwen3 (sliding and full attention mixed), llama, gpt2, qwen2 or mistral. It has no end token."""
    torch.manual_seed(seed)
    common: dict[str, Any] = dict(
        vocab_size=VOCABULARY, max_position_embeddings=max_position_embeddings, bos_token_id=None, eos_token_id=None, pad_token_id=0,
        initializer_range=0.2,  # large enough for the distributions to be far from uniform
    )  # fmt: skip
    gpt = dict(common, n_embd=32, n_layer=2, n_head=4)
    common |= dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=8)
    match kind:
        case "qwen3":
            layers = ["sliding_attention", "full_attention", "sliding_attention"]
            config = Qwen3Config(**common, use_sliding_window=True, sliding_window=12, layer_types=layers, tie_word_embeddings=True)
            made = Qwen3ForCausalLM(config)
        case "qwen2":
            made = Qwen2ForCausalLM(Qwen2Config(**common))
        case "llama":
            made = LlamaForCausalLM(LlamaConfig(**common))
        case "mistral":
            made = MistralForCausalLM(MistralConfig(**common, sliding_window=10))
        case "gpt2":
            made = GPT2LMHeadModel(GPT2Config(**gpt))
        case _:
            raise ValueError(kind)
    return made.eval()
