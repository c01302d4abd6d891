"""The sampler against the model's own forward pass and `generate`; its book-keeping; its behaviour when things go wrong."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from models.tiny import VOCABULARY, byte_level, model, word_level
from zerosearch.core.errors import GenerationFailed
from zerosearch.core.types import Finish, Generation, Sampling
from zerosearch.models.causal import value_head
from zerosearch.models.sampler import Arbiter, Sampler
from zerosearch.models.sampling import draw, uniforms

KINDS = ["qwen3", "llama", "gpt2"]
WORDS, BYTES = word_level(), byte_level()


def ids_of(length: int, seed: int) -> list[int]:
    return random.Random(seed).choices(range(2, VOCABULARY), k=length)


@torch.no_grad()
def logprobs(lm: Any, ids: list[int], temperature: float = 1.0) -> torch.Tensor:
    """log p(ids[i] | ids[:i]) by the model's own forward pass over the whole sequence; entry 0 is missing."""
    logits = lm(input_ids=torch.tensor([ids])).logits[0].float() / temperature
    return logits.log_softmax(-1)[:-1].gather(1, torch.tensor(ids)[1:, None])[:, 0]


def error_of(lm: Any, prompt: list[int], generation: Generation, temperature: float = 1.0) -> float:
    """Largest difference between the log-probs that came with the tokens and those of the full forward pass."""
    theirs = logprobs(lm, [*prompt, *generation.token_ids], temperature)[len(prompt) - 1 :]
    assert len(generation.logprobs) == len(generation.token_ids) == len(theirs)
    return float((theirs - torch.tensor(generation.logprobs)).abs().max())


def run_all(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    async def gather() -> list[Any]:
        return await asyncio.gather(*works)

    return asyncio.run(asyncio.wait_for(gather(), 60))


async def converse(
    sampler: Sampler, name: str, prompt: list[int], turns: int, make: Callable[[int], Sampling], pause: int = 0
) -> list[tuple[list[int], Generation]]:
    """Turns with an observation of a few tokens after each; `pause` yields before the first let rows join at different times."""
    ids, out = list(prompt), list[tuple[list[int], Generation]]()
    for turn in range(turns):
        for _ in range(pause * (turn + 1)):
            await asyncio.sleep(0)
        generation = await sampler.generate(ids, make(turn), name)
        out.append((list(ids), generation))
        ids += [*generation.token_ids, *ids_of(3 + 5 * turn, seed=len(ids))]
    sampler.close(name)
    return out


# ── exactness ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [*KINDS, "qwen2", "mistral"])
def test_logprobs_equal_a_full_forward_pass(kind: str) -> None:
    lm = model(kind)
    sampler = Sampler(lm, WORDS)
    temperatures = [1.0, 0.7, 0.0, 1.3]
    works = [
        converse(sampler, str(i), ids_of(3 + 9 * i, i), 3, lambda t, i=i: Sampling(4 + 3 * i + t, temperatures[i % 4], seed=i), pause=4 * i)
        for i in range(4)
    ]
    for i, conversation in enumerate(run_all(*works)):
        for ids, generation in conversation:
            assert error_of(lm, ids, generation, temperatures[i % 4] or 1.0) < 1e-5
    assert sampler.stats.prefilled == sampler.stats.new


@pytest.mark.parametrize("kind", KINDS)
def test_values_equal_a_full_forward_pass_and_change_nothing_else(kind: str) -> None:
    """Groups that share a prompt, documents between turns, any temperature: what the critic makes of the model's own states."""
    lm = model(kind)
    plain, judged = Sampler(lm, WORDS), Sampler(lm, WORDS)
    judged.critic = value_head(lm)
    torch.nn.init.normal_(judged.critic.weight, 0, 0.2)
    temperatures = [1.0, 0.7, 0.0]

    def works(sampler: Sampler) -> list[Coroutine[Any, Any, Any]]:
        how = [lambda t, i=i: Sampling(5 + t, temperatures[i % 3], seed=i) for i in range(9)]
        return [converse(sampler, str(i), ids_of(3 + 9 * (i // 3), i // 3), 3, how[i], pause=i // 3) for i in range(9)]

    without = [g for conversation in run_all(*works(plain)) for _, g in conversation]
    found = [pair for conversation in run_all(*works(judged)) for pair in conversation]
    assert [replace(g, values=()) for _, g in found] == without
    for ids, generation in found:
        with torch.no_grad():
            states = lm.base_model(input_ids=torch.tensor([[*ids, *generation.token_ids]])).last_hidden_state[0, len(ids) - 1 : -1]
            theirs = judged.critic(states)[:, 0]
        assert np.allclose(generation.values, theirs, rtol=0, atol=1e-5) and float(theirs.abs().min()) > 1e-5


@pytest.mark.parametrize("kind", ["qwen3", "mistral"])
def test_sliding_windows_of_rows_far_apart(kind: str) -> None:
    """A row shorter than the window and one many windows ahead: each looks at its own last tokens."""
    lm = model(kind)
    sampler = Sampler(lm, WORDS)
    works = [sampler.generate(ids_of(length, length), Sampling(4, seed=length), str(length)) for length in (3, 15, 120)]
    generations = run_all(*works)
    assert sampler._model.cache.windows  # the way that is tested here was taken
    for length, generation in zip((3, 15, 120), generations, strict=True):
        assert error_of(lm, ids_of(length, length), generation) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_equals_generate(kind: str) -> None:
    lm = model(kind)
    sampler = Sampler(lm, WORDS)
    prompts = [ids_of(length, length) for length in (5, 5, 9, 20)]
    ours = run_all(*(sampler.generate(p, Sampling(30, temperature=0), str(i)) for i, p in enumerate(prompts)))
    for prompt, generation in zip(prompts, ours, strict=True):
        ids = torch.tensor([prompt])
        theirs = lm.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=30, do_sample=False, pad_token_id=0)
        assert list(generation.token_ids) == theirs[0, len(prompt) :].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_does_not_depend_on_its_neighbours(kind: str) -> None:
    lm = model(kind)
    mine = lambda sampler: sampler.generate(ids_of(11, 1), Sampling(25, temperature=0.9, seed=5), "mine")  # noqa: E731
    (alone,) = run_all(mine(Sampler(lm, WORDS)))
    crowd = Sampler(lm, WORDS)
    others = [converse(crowd, str(i), ids_of(2 + 7 * i, i), 2, lambda t: Sampling(9, 1.1, 0.8 if t else 1.0), pause=i) for i in range(4)]
    together = run_all(*others, mine(crowd))[-1]
    assert together.token_ids == alone.token_ids
    assert np.allclose(together.logprobs, alone.logprobs, rtol=0, atol=1e-5)


def test_seeds() -> None:
    lm = model("qwen3")

    def sample(seed: int) -> Generation:
        return run_all(Sampler(lm, WORDS).generate(ids_of(5, 0), Sampling(20, seed=seed), "s"))[0]

    assert sample(3) == sample(3)  # bitwise, log-probs too
    assert sample(3).token_ids != sample(4).token_ids
    assert np.array_equal(uniforms(7, 5), uniforms(7, 9)[:5])  # number i depends on nothing but (seed, i)
    assert np.array_equal(uniforms(-1, 3), uniforms(2**64 - 1, 3))


def test_bfloat16_weights() -> None:
    lm = model("llama").to(torch.bfloat16)
    sampler = Sampler(lm, WORDS)
    for ids, generation in run_all(*(converse(sampler, str(i), ids_of(6 + i, i), 2, lambda t: Sampling(8)) for i in range(3)))[0]:
        assert error_of(lm, ids, generation) < 0.3


def test_many_short_rows_match_the_distribution() -> None:
    """Frequencies of the first token over 4,000 seeds against softmax(logits / T)."""
    lm = model("llama")
    prompt = ids_of(6, 0)
    with torch.no_grad():
        p = (lm(torch.tensor([prompt])).logits[0, -1] / 1.5).softmax(-1)
    logits = p.log().repeat(4000, 1)
    u = torch.from_numpy(np.array([uniforms(seed, 1) for seed in range(4000)]))
    drawn = draw(logits, u, None, None, None)[0].long()
    found = torch.bincount(drawn, minlength=VOCABULARY) / 4000
    assert float((found - p).abs().max()) < 4 * float((p * (1 - p) / 4000).sqrt().max())


# ── drawing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def drawn(p: list[float], u: float, top_p: float = 1.0, greedy: bool = False) -> int:
    column = lambda value: torch.tensor([[value]])  # noqa: E731
    return int(draw(torch.tensor([p]).log(), column(u), None, column(top_p) if top_p < 1 else None, column(True) if greedy else None)[0])


def test_draw_by_pencil() -> None:
    p = [0.25, 0.0, 0.5, 0.25]
    assert [drawn(p, u) for u in (0.0, 0.2, 0.25, 0.6, 0.75, 0.9999999)] == [0, 0, 2, 2, 3, 3]
    assert drawn(p, 0.0, greedy=True) == 2
    # the largest u there is, and sums that are no round numbers: still no token of probability 0
    for share in (1.0, 0.3, 0.1, 1 / 3, 0.7):
        assert drawn([0.0, share, 1 - share, *([share / 7] * 6), 0.0], 1 - 2**-24) != 9


@pytest.mark.parametrize("size", [64, 320, 2050])
def test_draw_inverts_the_distribution_whatever_the_size_of_the_vocabulary(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    logits = torch.randn(500, size, generator=generator) * 4
    logits[torch.rand(500, size, generator=generator) < 0.8] = -torch.inf  # many tokens that must never come
    logits[:, size // 2] = 0
    p = logits.softmax(-1)
    u = torch.from_numpy(np.array([uniforms(seed, 1) for seed in range(500)]))
    u[:50], u[50:100] = 0, 1 - 2**-24
    token = draw(logits, u, None, None, None)[0].long()[:, None]
    assert bool((p.gather(1, token) > 0).all())
    ends = p.double().cumsum(-1)
    assert bool((ends.gather(1, token) >= u * ends[:, -1:] - 1e-6).all())
    assert bool((ends.gather(1, token) - p.gather(1, token) <= u * ends[:, -1:] + 1e-6).all())


def test_top_p_masks_the_tail() -> None:
    p = [0.1, 0.5, 0.05, 0.35]
    # 0.5 + 0.35 reach 0.8: two tokens are left, 0.5 / 0.85 = 0.588 of the time the first
    assert [drawn(p, u, top_p=0.8) for u in (0.0, 0.58, 0.6, 0.99)] == [1, 1, 3, 3]
    assert [drawn(p, u, top_p=0.5) for u in (0.0, 0.99)] == [1, 1]
    assert drawn(p, 0.99, top_p=0.0) == 1
    lm = model("llama")
    sampler = Sampler(lm, WORDS)
    (generation,) = run_all(sampler.generate(ids_of(5, 0), Sampling(40, top_p=0.3, seed=1), "s"))
    assert error_of(lm, ids_of(5, 0), generation) < 1e-5  # log-probs are those before top-p
    full = [*ids_of(5, 0), *generation.token_ids]
    with torch.no_grad():
        probabilities = lm(torch.tensor([full])).logits[0, 4:-1].softmax(-1)
    for p_V, token in zip(probabilities, generation.token_ids, strict=True):
        assert float(p_V[p_V > p_V[token]].sum()) < 0.3 + 1e-5


# ── stopping ──────────────────────────────────────────────────────────────────────────────────────────────────────


def forced(lm: Any, text_ids: list[int]) -> Any:
    """A gpt2 whose greedy continuation of `prompt of one token 2` is `text_ids`, whatever came before: position decides."""
    with torch.no_grad():
        for parameter in lm.transformer.h.parameters():
            parameter.zero_()
        lm.lm_head = torch.nn.Linear(32, VOCABULARY, bias=False)
        lm.transformer.wte.weight.zero_()
        for position, token in enumerate(text_ids):
            lm.transformer.wpe.weight[position] = torch.randn(32, generator=torch.Generator().manual_seed(position)) * 5
            hidden = lm.transformer.ln_f(lm.transformer.wpe.weight[position])
            lm.lm_head.weight[token] += hidden
    return lm


def continuation(text: str, tokenizer: Any, stop: tuple[str, ...], prompt: int = 2) -> tuple[str, Finish]:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(set(ids)) == len(ids), "the forced model needs distinct tokens"
    sampler = Sampler(forced(model("gpt2"), ids), tokenizer)
    (generation,) = run_all(sampler.generate([prompt], Sampling(len(ids), temperature=0, stop=stop), "s"))
    assert list(generation.token_ids) == ids[: len(generation.token_ids)]
    return tokenizer.decode(generation.token_ids), generation.finish


def test_stop_in_one_token() -> None:
    assert continuation("who <search> Paris </search> wrote", WORDS, ("</search>",)) == ("who <search> Paris </search>", Finish.STOP)
    assert continuation("who <search> Paris </answer> wrote", WORDS, ("</search>",))[1] is Finish.LENGTH


def test_stop_across_tokens_and_inside_a_token() -> None:
    inside = next(token for token in BYTES.get_vocab() if token.endswith(">Ċ"))  # a token that goes on behind the `>`
    text = "qu ery</" + inside.replace("Ċ", "\n").replace("Ġ", " ") + "R"
    stop = "/" + inside.removesuffix("Ċ")
    ids = BYTES(text, add_special_tokens=False)["input_ids"]
    kept, finish = continuation(text, BYTES, (stop, "never"))
    assert finish is Finish.STOP and kept == text[:-1] and kept.endswith("\n") and len(ids) > 3


def test_stop_with_letters_beyond_ascii() -> None:
    """Each character of 終止 is three tokens, and the last byte alone is no text at all."""
    assert continuation("a終止b", BYTES, ("止",)) == ("a終止", Finish.STOP)


def test_end_token() -> None:
    ids = WORDS("who <eos> wrote", add_special_tokens=False)["input_ids"]
    sampler = Sampler(forced(model("gpt2"), ids), WORDS)  # the config names no end token; the tokenizer does
    (generation,) = run_all(sampler.generate([5], Sampling(9, temperature=0, stop=("never",)), "s"))
    assert (list(generation.token_ids), generation.finish) == (ids[:2], Finish.EOS)


def test_rows_with_different_stops_share_a_batch() -> None:
    lm = model("qwen3")
    sampler = Sampler(lm, WORDS)
    works = [sampler.generate(ids_of(4, i), Sampling(60, seed=i, stop=(("1",), ("7", "w2"), ())[i % 3]), str(i)) for i in range(9)]
    for i, generation in enumerate(run_all(*works)):
        texts = [WORDS.decode([token]) for token in generation.token_ids]
        ends = [any(stop in text for stop in (("1",), ("7", "w2"), ())[i % 3]) for text in texts]
        assert not any(ends[:-1])
        assert ends[-1] == (generation.finish is Finish.STOP)


# ── nothing twice ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", KINDS)
def test_two_turns_prefill_only_what_is_new(kind: str) -> None:
    sampler = Sampler(model(kind), WORDS)
    conversations = run_all(*(converse(sampler, str(i), ids_of(10 + i, i), 2, lambda t: Sampling(6, seed=t)) for i in range(5)))
    # per row: the prompt, then the last sampled token and the 3 tokens of the observation
    assert sampler.stats.prefilled == sampler.stats.new == sum(10 + i + 1 + 3 for i in range(5))
    assert len(conversations) == 5 and sampler.stats.evictions == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_groups_prompt_is_prefilled_once(kind: str) -> None:
    lm = model(kind)
    sampler = Sampler(lm, WORDS)
    prompts = [ids_of(12, 1)] * 5 + [ids_of(7, 2)] * 5
    generations = run_all(*(sampler.generate(p, Sampling(10, seed=i), str(i)) for i, p in enumerate(prompts)))
    assert sampler.stats.prefilled == sampler.stats.new == 12 + 7
    assert len({generation.token_ids for generation in generations}) == 10
    assert all(error_of(lm, p, generation) < 1e-5 for p, generation in zip(prompts, generations, strict=True))

    # a latecomer copies all but the last token, whose logits it needs, even from a session that is closed
    for i in range(10):
        sampler.close(str(i))
    (late,) = run_all(sampler.generate(prompts[0], Sampling(10, seed=99), "late"))
    assert sampler.stats.prefilled == sampler.stats.new == 12 + 7 + 1
    assert error_of(lm, prompts[0], late) < 1e-5


def test_a_shared_template_is_prefilled_once() -> None:
    lm = model("llama")
    sampler = Sampler(lm, WORDS, call_tokens=16)
    template = ids_of(40, 0)
    prompts = [[*template, 50 + i, *ids_of(2 + i, i)] for i in range(4)] + [ids_of(5, 9)]
    generations = run_all(*(sampler.generate(p, Sampling(5, seed=i), str(i)) for i, p in enumerate(prompts)))
    assert sampler.stats.prefilled == sampler.stats.new == 40 + (3 + 4 + 5 + 6) + 5
    assert all(error_of(lm, p, generation) < 1e-5 for p, generation in zip(prompts, generations, strict=True))


def test_a_session_that_changes_its_past_keeps_the_common_prefix() -> None:
    lm = model("qwen3")
    sampler = Sampler(lm, WORDS)
    first = ids_of(20, 1)
    run_all(sampler.generate(first, Sampling(5), "s"))
    other = first[:12] + ids_of(6, 2)
    (generation,) = run_all(sampler.generate(other, Sampling(5), "s"))
    assert sampler.stats.prefilled == 20 + 6
    assert error_of(lm, other, generation) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_evicted_sessions_are_merely_slower(kind: str) -> None:
    lm = model(kind)
    sampler = Sampler(lm, WORDS, max_rows=2)
    works = [converse(sampler, str(i), ids_of(9 + i, i), 3, lambda t, i=i: Sampling(4 + t, seed=i), pause=30) for i in range(5)]
    conversations = run_all(*works)
    assert all(error_of(lm, ids, generation) < 1e-5 for conversation in conversations for ids, generation in conversation)
    assert sampler.stats.evictions > 0 and sampler.stats.prefilled > sampler.stats.new
    assert sampler.stats.new == sum(len(c[-1][0]) - sum(len(g.token_ids) - 1 for _, g in c[:-1]) for c in conversations)


def test_padding_is_bounded() -> None:
    sampler = Sampler(model("llama"), WORDS, call_tokens=8)
    run_all(*(sampler.generate(ids_of(n, n), Sampling(2), str(n)) for n in (3, 60, 4, 58, 20, 21)))
    assert sampler.stats.prefills == 3 and sampler.stats.padded == 2 + 1 + 1


def test_waiting_is_bounded() -> None:
    """One late request does not meet join_fraction, but joins after max_wait_steps."""
    sampler = Sampler(model("llama"), WORDS, join_fraction=1.0, max_wait_steps=5)

    async def late() -> int:
        await asyncio.sleep(0)
        await sampler.generate(ids_of(5, 50), Sampling(1), "late")
        return sampler.stats.steps

    steps = run_all(*(sampler.generate(ids_of(6, i), Sampling(40), str(i)) for i in range(4)), late())[-1]
    assert 4 <= steps <= 8


# ── weights that change ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", KINDS)
def test_forget_after_a_weight_update(kind: str) -> None:
    lm = model(kind)
    sampler = Sampler(lm, WORDS)
    prompt = ids_of(8, 0)
    (before,) = run_all(sampler.generate(prompt, Sampling(6), "s"))
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    sampler.forget()
    ids = [*prompt, *before.token_ids, 5, 6]
    (after,) = run_all(sampler.generate(ids, Sampling(6), "s"))
    assert error_of(lm, ids, after) < 1e-5
    assert sampler.stats.prefilled == 8 + len(ids)


def test_weights_replaced_by_new_parameters_are_noticed() -> None:
    """The norms that run in our forward hold tensors; `forget` looks anew when the model has got others."""
    lm = model("llama")
    sampler = Sampler(lm, WORDS)
    lm.load_state_dict(model("llama", seed=9).state_dict(), assign=True)
    sampler.forget()
    (generation,) = run_all(sampler.generate(ids_of(5, 0), Sampling(6), "s"))
    assert error_of(lm, ids_of(5, 0), generation) < 1e-5


def test_forget_in_mid_sequence_goes_on() -> None:
    lm = model("qwen3")
    sampler = Sampler(lm, WORDS)

    async def forget_soon() -> None:
        for _ in range(6):
            await asyncio.sleep(0)
        sampler.forget()

    prompts = [ids_of(7, 0), ids_of(9, 1)]
    *generations, _ = run_all(*(sampler.generate(p, Sampling(15, seed=i), str(i)) for i, p in enumerate(prompts)), forget_soon())
    assert all(error_of(lm, p, g) < 1e-5 and len(g.token_ids) == 15 for p, g in zip(prompts, generations, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_untouched(kind: str) -> None:
    def train(lm: Any) -> list[torch.Tensor]:
        ids = torch.tensor([ids_of(30, 3)])
        torch.manual_seed(1)
        loss = lm.train()(input_ids=ids, labels=ids).loss
        loss.backward()
        return [loss.detach(), *(parameter.grad for parameter in lm.parameters())]

    expected = train(model(kind))
    lm = model(kind).train()
    attention = lm.config._attn_implementation
    sampler = Sampler(lm, WORDS)
    (generation,) = run_all(sampler.generate(ids_of(6, 0), Sampling(8), "s"))
    assert all(module.training for module in lm.modules()) and lm.config._attn_implementation == attention
    assert all(torch.equal(a, b) for a, b in zip(train(lm), expected, strict=True))
    assert error_of(lm.eval(), ids_of(6, 0), generation) < 1e-5  # sampled without dropout


# ── when things go wrong ──────────────────────────────────────────────────────────────────────────────────────────


def test_no_room() -> None:
    sampler = Sampler(model("gpt2", max_position_embeddings=24), WORDS)
    prompts = [ids_of(20, 0), ids_of(3, 1)]  # the padded row must not run past the position table either
    short, long = run_all(*(sampler.generate(p, Sampling(30), str(i)) for i, p in enumerate(prompts)))
    assert (len(short.token_ids), short.finish) == (4, Finish.LENGTH)
    assert (len(long.token_ids), long.finish) == (21, Finish.LENGTH)
    with pytest.raises(GenerationFailed, match="24 tokens and the model's context is 24"):
        run_all(sampler.generate(ids_of(24, 0), Sampling(5), "t"))
    for ids in ([], [VOCABULARY], [-1]):
        with pytest.raises(GenerationFailed, match="token ids"):
            run_all(sampler.generate(ids, Sampling(5), "u"))
    assert run_all(sampler.generate([5], Sampling(0), "v")) == [Generation((), (), Finish.LENGTH)]


def test_cancelled_requests_free_their_rows() -> None:
    lm = model("qwen3")
    sampler = Sampler(lm, WORDS, max_rows=3, join_fraction=0)

    async def main() -> list[Generation]:
        tasks = [asyncio.create_task(sampler.generate(ids_of(5 + i, i), Sampling(100, seed=i), str(i))) for i in range(4)]
        for _ in range(10):
            await asyncio.sleep(0)
        tasks[0].cancel()  # active
        tasks[3].cancel()  # waits for a slot
        sampler.close("1")  # closed while it runs
        late = asyncio.create_task(sampler.generate(ids_of(6, 9), Sampling(50), "late"))
        outcomes = await asyncio.gather(*tasks, late, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes[:4]] == [
            asyncio.CancelledError, GenerationFailed, Generation, asyncio.CancelledError
        ]  # fmt: skip
        first = asyncio.create_task(sampler.generate(ids_of(5, 0), Sampling(50), "0"))
        for _ in range(3):
            await asyncio.sleep(0)
        first.cancel()
        sampler.forget()  # between the cancellation and the moment the task learns of it
        with pytest.raises(asyncio.CancelledError):
            await first
        again = await sampler.generate(ids_of(5, 0), Sampling(5), "0")  # a cancelled session can go on at once
        return [o for o in (outcomes[2], outcomes[4], again) if isinstance(o, Generation)]

    for prompt, generation in zip([ids_of(7, 2), ids_of(6, 9), ids_of(5, 0)], asyncio.run(main()), strict=True):
        assert error_of(lm, prompt, generation) < 1e-5
    assert sampler.ready == 0


class Breakable(torch.nn.Module):
    """An MLP that works until told not to."""

    def __init__(self, mlp: torch.nn.Module) -> None:
        super().__init__()
        self.mlp, self.trouble = mlp, ""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.trouble == "raise":
            raise RuntimeError("out of memory, say")
        return self.mlp(x) * (float("nan") if self.trouble == "nan" else 1.0)


def test_an_error_reaches_everybody_and_leaves_a_working_sampler() -> None:
    lm = model("llama")
    lm.model.layers[1].mlp = broken = Breakable(lm.model.layers[1].mlp)
    sampler = Sampler(lm, WORDS)
    broken.trouble = "raise"
    outcomes = asyncio.run(_settle(sampler, [ids_of(5 + i, i) for i in range(3)]))
    assert all(isinstance(outcome, GenerationFailed) and "out of memory, say" in str(outcome) for outcome in outcomes)
    assert all(isinstance(outcome.__cause__, RuntimeError) for outcome in outcomes)
    broken.trouble = ""
    (generation,) = run_all(sampler.generate(ids_of(5, 0), Sampling(6), "0"))
    assert error_of(lm, ids_of(5, 0), generation) < 1e-5


async def _settle(sampler: Sampler, prompts: list[list[int]]) -> list[Any]:
    works = (sampler.generate(p, Sampling(6), str(i)) for i, p in enumerate(prompts))
    return await asyncio.wait_for(asyncio.gather(*works, return_exceptions=True), 20)


def test_nan_logits_fail_and_do_not_spread() -> None:
    lm = model("llama")
    lm.model.layers[0].mlp = broken = Breakable(lm.model.layers[0].mlp)  # what is cached in layer 1 is NaN, too
    sampler = Sampler(lm, WORDS)
    broken.trouble = "nan"
    outcomes = asyncio.run(_settle(sampler, [ids_of(30, i) for i in range(3)]))
    assert all(isinstance(outcome, GenerationFailed) and "not finite" in str(outcome) for outcome in outcomes)
    broken.trouble = ""
    prompts = [ids_of(4, 7), ids_of(20, 8)]  # ragged: masked positions reach into what the NaN rows left
    generations = run_all(*(sampler.generate(p, Sampling(6), str(i)) for i, p in enumerate(prompts)))
    assert all(error_of(lm, p, g) < 1e-5 for p, g in zip(prompts, generations, strict=True))


def test_one_call_at_a_time() -> None:
    sampler = Sampler(model("llama"), WORDS)

    async def main() -> None:
        first = asyncio.create_task(sampler.generate([5], Sampling(5), "s"))
        await asyncio.sleep(0)
        with pytest.raises(GenerationFailed, match="already generating"):
            await sampler.generate([5], Sampling(5), "s")
        await first

    asyncio.run(main())
    sampler.close("unknown")


# ── two samplers, one device ──────────────────────────────────────────────────────────────────────────────────────


def test_the_fuller_sampler_goes_first_and_nobody_starves() -> None:
    def steps(arbiter: Arbiter | None) -> tuple[int, int, list[Any]]:
        policy, simulator = (Sampler(lm, WORDS, arbiter=arbiter) for lm in lms)

        async def rollout(i: int) -> list[Generation]:
            asked = await policy.generate(ids_of(5 + i, i), Sampling(4 + 3 * i, seed=i), str(i))
            found = await simulator.generate(ids_of(9, i), Sampling(12, seed=i), str(i))
            return [asked, found, await policy.generate([*ids_of(5 + i, i), *asked.token_ids, 7], Sampling(5), str(i))]

        results = run_all(*(rollout(i) for i in range(8)))
        assert policy.ready == simulator.ready == 0
        return policy.stats.steps, simulator.stats.steps, results

    lms = model("llama"), model("gpt2")
    policy, simulator, results = steps(Arbiter())
    assert steps(Arbiter()) == (policy, simulator, results)
    assert policy + simulator < sum(steps(None)[:2])
