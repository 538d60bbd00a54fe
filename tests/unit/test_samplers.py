"""Samplers of models whose conditionals are known: what is drawn, in which order, at which cost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from test_tokens import seeded, token_cell

from lra import attention
from lra.evaluation.samplers import Prompt, autoregressive, denoised, uniform
from lra.models.decode import Decoder
from lra.training.batches import Batch
from lra.training.tokens import Next

SHAPE = (3, 3, 3)  # three tokens of a vocabulary of three
JOINT = np.random.default_rng(7).dirichlet(np.full(27, 0.5)).reshape(SHAPE)


class Exact:
    """A model that knows the joint distribution of three tokens; it counts what it is asked."""

    def __init__(self, joint: np.ndarray = JOINT) -> None:
        self.joint = torch.from_numpy(joint)
        self.calls, self.tokens = 0, 0

    def __call__(self, tokens, hidden):
        """log p(token n | the tokens that are not hidden), (B, 3, 3)"""
        self.calls += 1
        self.tokens += tokens.numel()
        given = [
            torch.nn.functional.one_hot(tokens[:, n], 3).double().masked_fill(hidden[:, n, None], 1)
            for n in range(3)
        ]
        scores = []
        for n in range(3):
            factors = [torch.ones_like(given[m]) if m == n else given[m] for m in range(3)]
            weight = torch.einsum("xyz,bx,by,bz->bxyz", self.joint, *factors)
            scores.append(weight.sum([1 + m for m in range(3) if m != n]))
        return torch.stack(scores, 1).log()

    def prefill(self, read, unknown):
        """As a decoder: the learned vector first, then the tokens."""
        assert unknown[:, 0].all() and not unknown[:, 1:].any()
        self.tokens += read.shape[1] * len(read)
        return self.after(read[:, 1:])

    def step(self, tokens, states):
        self.tokens += len(tokens)
        return self.after(torch.cat([states[0], tokens[:, None]], 1))

    def after(self, seen):
        tokens = torch.nn.functional.pad(seen, (0, 3 - seen.shape[1]))
        hidden = torch.arange(3).expand(tokens.shape) >= seen.shape[1]
        return self(tokens, hidden)[:, seen.shape[1]] if seen.shape[1] < 3 else None, (seen,)


def prompt(count: int, greedy=False, missing=(True, True, True), tokens=None, first=0) -> Prompt:
    shape = (count, len(missing))
    tokens = torch.zeros(shape, dtype=torch.long) if tokens is None else tokens
    index = torch.arange(first, first + count)
    lengths = np.full(count, len(missing))
    return Prompt(tokens, torch.tensor(missing).expand(shape), index, lengths, greedy)


def p_of(tokens, expected: np.ndarray) -> float:
    """Of a chi-square test that the rows of tokens (B, 3) are drawn from this joint."""
    found = np.bincount(np.ravel_multi_index(tokens.T.numpy(), SHAPE), minlength=27)
    return chisquare(found, len(tokens) * expected.ravel()).pvalue


WAYS = {
    "autoregressive": lambda model, of: autoregressive(model, of),
    "random": lambda model, of: denoised(model, of, "random", 3),
    "confidence": lambda model, of: denoised(model, of, "confidence", 3),
    "blocks of 1": lambda model, of: denoised(model, of, "confidence", 1, 1),
    "blocks of 2": lambda model, of: denoised(model, of, "confidence", 2, 2),
}


@pytest.mark.parametrize("way", WAYS)
def test_with_a_token_a_step_an_exact_model_is_drawn_from_exactly(way):
    found = WAYS[way](Exact(), prompt(20_000))
    assert p_of(found.tokens, JOINT) > 0.01
    assert set(found.evaluations) == {3}


def test_in_one_step_all_tokens_are_drawn_by_themselves():
    """The known failure of parallel sampling: the product of the marginals, not the joint."""
    found = denoised(Exact(), prompt(20_000), "random", 1)
    a, b, c = (JOINT.sum(tuple(m for m in range(3) if m != n)) for n in range(3))
    assert p_of(found.tokens, a[:, None, None] * b[:, None] * c) > 0.01
    assert p_of(found.tokens, JOINT) < 1e-6
    assert set(found.evaluations) == {1}


def test_greedily_each_token_is_the_likeliest_after_those_before_it():
    first = JOINT.sum((1, 2)).argmax()
    second = JOINT[first].sum(1).argmax()
    expected = [first, second, JOINT[first, second].argmax()]
    assert autoregressive(Exact(), prompt(2, True)).tokens.tolist() == [expected] * 2
    # blocks of one token are the same order
    blocks = denoised(Exact(), prompt(2, True), "confidence", 1, 1)
    assert blocks.tokens.tolist() == [expected] * 2


def test_confidence_fills_the_surest_tokens_first_and_random_any():
    """The scores of a position say how sure it is, whatever is known of the others."""
    sure = torch.tensor([1.0, 5.0, 3.0, 2.0, 4.0])
    seen = []

    def model(tokens, hidden):
        seen.append(hidden.clone())
        return torch.nn.functional.one_hot(torch.full_like(tokens, 2), 4) * sure[:, None]

    denoised(model, prompt(1, True, [True] * 5), "confidence", 5)
    assert [int(hidden.sum()) for hidden in seen] == [5, 4, 3, 2, 1]
    filled = [int((a & ~b).nonzero()[0, 1]) for a, b in itertools.pairwise(seen)]
    assert filled == [1, 4, 2, 3]
    seen.clear()
    denoised(model, prompt(1, True, [True] * 5), "confidence", 3, 3)  # blocks 0 1 2, then 3 4
    filled = [int((a & ~b).nonzero()[0, 1]) for a, b in itertools.pairwise(seen)]
    assert filled == [1, 2, 0, 4]
    seen.clear()
    denoised(model, prompt(6_000, True, [True] * 5), "random", 5)
    firsts = (seen[0] & ~seen[1]).sum(0)
    assert chisquare(firsts.numpy()).pvalue > 0.01


@pytest.mark.parametrize(
    ("steps", "size", "shares"),
    [
        (1, None, [5]),
        (2, None, [2, 3]),
        (3, None, [1, 2, 2]),
        (9, None, [1] * 5),
        (1, 2, [2, 2, 1]),
        (2, 4, [2, 2, 1]),
    ],
)
def test_steps_fill_equal_shares_and_are_counted(steps, size, shares):
    left = []

    def model(tokens, hidden):
        left.append(int(hidden.sum()))
        return torch.zeros(*tokens.shape, 4)

    missing = [True, False, True, True, True, False, True]
    found = denoised(model, prompt(1, True, missing), "confidence", steps, size)
    assert [a - b for a, b in itertools.pairwise([*left, 0])] == shares
    assert found.evaluations.tolist() == [len(shares)]
    assert found.token_evaluations.tolist() == [7 * len(shares)]


def test_the_costs_of_a_single_example_are_what_its_model_was_asked():
    truth = torch.tensor([[0, 2, 1]])
    for missing, calls, tokens in (
        ((True, True, True), 3, 3),
        ((False, True, True), 2, 3),
        ((False, True, False), 1, 2),
        ((True, False, True), 3, 3),  # a given token between answers is read by itself, too
    ):
        model = Exact()
        found = autoregressive(model, prompt(1, True, missing, truth))
        asked = model.calls, found.token_evaluations.tolist()
        assert asked == (calls, [tokens]) and found.evaluations.tolist() == [calls]
    model = Exact()
    found = denoised(model, prompt(1, True, (True, False, True), truth), "random", 2)
    assert (model.calls, found.evaluations.tolist()) == (2, [2])
    assert found.token_evaluations.tolist() == [6]


def test_an_answer_reaches_no_model_even_one_that_hides_nothing():
    def model(tokens, hidden):
        assert not tokens[hidden].any()
        return torch.nn.functional.one_hot(tokens, 4).double()

    truth = torch.tensor([[3, 1, 2, 3]])
    found = denoised(model, prompt(1, True, [True, False, True, True], truth), "random", 2)
    assert found.tokens.tolist() == [[0, 1, 0, 0]]


def mixed_prompt(greedy: bool, seed: int) -> Prompt:
    """Examples whose numbers of missing tokens differ."""
    draws = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, (40, 3), generator=draws)
    missing = torch.rand(40, 3, generator=draws) < 0.6
    missing[:, 1] = True
    return Prompt(tokens, missing, torch.arange(40), np.full(40, 3), greedy)


@pytest.mark.parametrize("greedy", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_given_stays_what_is_missing_is_not_read_and_the_batch_does_not_matter(way, greedy):
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed {seed}")
    every = mixed_prompt(greedy, seed)
    before = every.tokens.clone()
    whole = WAYS[way](Exact(), every)
    assert torch.equal(every.tokens, before)
    assert torch.equal(whole.tokens[~every.missing], every.tokens[~every.missing])
    other = every.tokens.where(~every.missing, 2 - every.tokens)
    again = WAYS[way](Exact(), Prompt(other, *list(vars(every).values())[1:]))
    assert torch.equal(again.tokens, whole.tokens)
    shuffled = torch.randperm(40)
    for rows in (*shuffled.split(7), *shuffled[:9].split(1)):
        part = Prompt(every.tokens[rows], every.missing[rows], rows, every.lengths[rows], greedy)
        found = WAYS[way](Exact(), part)
        assert torch.equal(found.tokens, whole.tokens[rows])
        assert found.evaluations.tolist() == whole.evaluations[rows.numpy()].tolist()
        assert found.token_evaluations.tolist() == whole.token_evaluations[rows.numpy()].tolist()


def test_noise_is_uniform_and_unrelated_between_examples_positions_and_tokens():
    index, place = torch.arange(40), torch.arange(50).expand(40, 50)
    found = uniform(index, place[..., None], torch.arange(30)).numpy()
    assert found.dtype == np.float64 and found.min() > 0 and found.max() < 1
    assert chisquare(np.histogram(found, 64, (0, 1))[0]).pvalue > 1e-3
    for axis in range(3):
        a, b = np.delete(found, -1, axis).ravel(), np.delete(found, 0, axis).ravel()
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.02
    assert len(np.unique(found)) == found.size


@pytest.mark.parametrize("name", [n for n in attention.names() if attention.info(n).causal])
def test_by_the_state_of_a_decoder_tokens_are_those_of_whole_forward_passes(name):
    if name in ("reformer", "routing"):  # later tokens choose what earlier ones see
        pytest.skip("its causal form is not strict")
    aim = Next(token_cell(attention=name, layers=2))
    model = seeded(aim)
    torch.manual_seed(3)
    tokens, missing = torch.randint(16, (5, 16)), torch.rand(5, 16) < 0.5
    missing[:, :3] = False
    given = Prompt(tokens, missing, torch.arange(5), np.full(5, 16), greedy=True)
    found = autoregressive(Decoder(model), given).tokens
    expected = tokens.clone()
    with torch.no_grad():
        for n in range(16):
            question = aim.question(Batch(expected[:, None].int(), None, torch.zeros(5)))
            scores = model(question.batch.tokens, None, question.hidden)[:, 0, n]
            expected[:, n] = scores.argmax(-1).where(missing[:, n], expected[:, n])
    assert torch.equal(found, expected)
