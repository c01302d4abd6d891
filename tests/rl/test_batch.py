"""From groups to tensors: authorship is the mask, and nothing is lost or counted twice."""

import random
from dataclasses import replace

import pytest
import torch

from zerosearch.core.types import Author, Question, Span, StopReason, Trajectory
from zerosearch.rl.batch import TrainingExample, make_batch, microbatches, minibatches, teaches, trained_token_count

QUESTION = Question("q", "?", ("a",))
PAD = 9


def made(
    *spans: tuple[Author, int], advantage: float | None = 1.0, reason: StopReason = StopReason.ANSWERED, sample: int = 0
) -> Trajectory:
    """Spans of given lengths; tokens count up from 10, log-probs down from -0.1."""
    pieces: list[Span] = []
    position = 0
    for author, length in spans:
        places = range(position, position + length)
        logprobs = tuple(-(p + 1) / 10 for p in places) if author is Author.POLICY else ()
        pieces.append(Span(author, tuple(10 + p for p in places), "", logprobs))
        position += length
    return Trajectory(QUESTION, sample, tuple(pieces), (), reason, advantage=advantage)


TWO_TURNS = made((Author.PROMPT, 2), (Author.POLICY, 2), (Author.ENVIRONMENT, 3), (Author.POLICY, 1), advantage=-0.5)
ONE_TURN = made((Author.PROMPT, 1), (Author.POLICY, 3), advantage=2.0)


def test_make_batch() -> None:
    batch = make_batch([TWO_TURNS, ONE_TURN], PAD)
    assert batch.ids_BT.tolist() == [[10, 11, 12, 13, 14, 15, 16, 17], [10, 11, 12, 13, PAD, PAD, PAD, PAD]]
    assert batch.trained_BT.int().tolist() == [[0, 0, 1, 1, 0, 0, 0, 1], [0, 1, 1, 1, 0, 0, 0, 0]]
    assert torch.equal(batch.sampled_BT, batch.trained_BT)
    assert batch.old_logprobs_BT.tolist()[0] == pytest.approx([0, 0, -0.3, -0.4, 0, 0, 0, -0.8])
    assert [batch.trained_BT[b, : len(t.token_ids)].tolist() for b, t in enumerate([TWO_TURNS, ONE_TURN])] == [
        list(TWO_TURNS.policy_mask),
        list(ONE_TURN.policy_mask),
    ]


def test_without_masking_documents_are_trained_on_but_still_nobody_sampled_them() -> None:
    batch = make_batch([TWO_TURNS], PAD, mask_observations=False)
    assert batch.trained_BT.int().tolist() == [[0, 0, 1, 1, 1, 1, 1, 1]]  # the prompt never
    assert batch.sampled_BT.int().tolist() == [[0, 0, 1, 1, 0, 0, 0, 1]]


def test_an_empty_turn_is_no_obstacle() -> None:
    batch = make_batch([made((Author.PROMPT, 1), (Author.POLICY, 0), (Author.ENVIRONMENT, 1), (Author.POLICY, 1))], PAD)
    assert batch.ids_BT.tolist() == [[10, 11, 12]] and batch.trained_BT.int().tolist() == [[0, 0, 1]]


def test_log_probs_of_other_authors_are_not_looked_at() -> None:
    junk = [s if s.author is Author.POLICY else replace(s, logprobs=(float("nan"),) * len(s.token_ids)) for s in TWO_TURNS.spans]
    one, other = make_batch([TWO_TURNS], PAD), make_batch([replace(TWO_TURNS, spans=tuple(junk))], PAD)
    assert torch.equal(one.old_logprobs_BT, other.old_logprobs_BT)


def test_a_log_prob_too_few_is_noticed() -> None:
    spans = [replace(s, logprobs=s.logprobs[:-1]) for s in ONE_TURN.spans]
    with pytest.raises(RuntimeError):
        make_batch([replace(ONE_TURN, spans=tuple(spans))], PAD)


def test_token_counts_agree_with_the_tensors() -> None:
    for masked, count in ((True, 6), (False, 9)):
        assert trained_token_count(TWO_TURNS, masked) + trained_token_count(ONE_TURN, masked) == count
        assert int(make_batch([TWO_TURNS, ONE_TURN], PAD, masked).trained_BT.sum()) == count


def test_what_teaches_nothing() -> None:
    good = [replace(ONE_TURN, sample=i, advantage=a) for i, a in enumerate((1.0, -0.3))]
    bad = [
        replace(ONE_TURN, advantage=0.0),
        replace(ONE_TURN, advantage=1e-9),  # float noise of equal rewards
        replace(ONE_TURN, advantage=None, stop_reason=StopReason.SEARCH_FAILED),
        made((Author.PROMPT, 3), advantage=1.0),
    ]
    assert all(map(teaches, good)) and not any(map(teaches, bad))


def test_minibatches() -> None:
    examples = [TrainingExample(replace(ONE_TURN, sample=i), (1.0,) * 3) for i in range(10)]
    parts = minibatches(examples, 3, seed=5)
    assert sorted(map(len, parts)) == [3, 3, 4]
    assert sorted(one.trajectory.sample for part in parts for one in part) == list(range(10))
    assert parts == minibatches(examples, 3, seed=5) != minibatches(examples, 3, seed=6)
    assert [len(part) for part in minibatches(examples[:2], 3, seed=0)] == [1, 1]
    assert minibatches([], 3, seed=0) == []


@pytest.mark.parametrize("max_tokens", [1, 20, 64, 10_000])
def test_microbatches(max_tokens: int) -> None:
    rng = random.Random(0)
    trajectories = [made((Author.PROMPT, 1), (Author.POLICY, rng.randint(1, 19)), sample=i) for i in range(30)]
    parts = microbatches(trajectories, max_tokens)
    assert sorted(i for part in parts for i in part) == list(range(30))
    for part in parts:
        assert len(part) == 1 or make_batch([trajectories[i] for i in part], PAD).ids_BT.numel() <= max_tokens
    assert len(parts) == (30 if max_tokens == 1 else 1 if max_tokens == 10_000 else len(parts))
    assert microbatches([], max_tokens) == []
