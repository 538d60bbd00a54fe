"""ListOps: every label against an independent evaluator, the distribution against exact figures."""

from __future__ import annotations

import hashlib
import statistics

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import chisquare

from lra.core.errors import LRAError
from lra.data import listops, listops_kernel
from lra.data.listops import ListOpsConfig
from tiny import examples

PAPER = ListOpsConfig()
SMALL = ListOpsConfig(min_length=8, max_length=64, max_depth=4, max_args=5)

# An independent simulation of the official recipe: shared/reference/listops_stats.json.
ACCEPTANCE = 0.083
LENGTH_QUANTILES = {0.10: 575, 0.25: 701, 0.50: 955, 0.75: 1313, 0.90: 1641, 0.99: 1955}
LENGTH_MEAN = 1033
LABEL_PERCENT = [17.0, 8.6, 7.6, 8.1, 9.1, 8.8, 7.9, 7.3, 8.7, 17.0]

OPERATORS = {
    "[MIN": min,
    "[MAX": max,
    "[MED": lambda arguments: int(statistics.median(arguments)),
    "[SM": lambda arguments: sum(arguments) % 10,
}


def evaluate(words: list[str]) -> tuple[int, int, set[int]]:
    """The value of an expression, the levels of its tree, and the argument counts in it.

    Raises AssertionError or IndexError where the expression is not well formed.
    """
    opened: list[tuple[str, list[int]]] = []
    counts, levels, value = set(), 1, None
    for word in words:
        assert value is None, "something follows the expression"
        if word in OPERATORS:
            opened.append((word, []))
            levels = max(levels, len(opened) + 1)
            continue
        if word == "X":
            operator, arguments = opened.pop()
            counts.add(len(arguments))
            result = OPERATORS[operator](arguments)
        else:
            result = int(word)
        if opened:
            opened[-1][1].append(result)
        else:
            value = result
    assert value is not None, "a bracket is left open"
    return value, levels, counts


def check(table: pa.Table, config: ListOpsConfig) -> None:
    """Every row is a well-formed expression of the configuration and carries its value."""
    for row in table.to_pylist():
        words = [listops.VOCAB[token] for token in row["tokens"]]
        value, levels, counts = evaluate(words)
        assert row["label"] == value, " ".join(words)
        assert 0 <= value <= 9
        assert config.min_length < len(words) < config.max_length
        assert levels <= config.max_depth
        assert counts <= set(range(config.min_args, config.max_args + 1))


def length_probabilities(config: ListOpsConfig) -> np.ndarray:
    """P(length = n) of one random tree for n < max_length, by convolution: (max_length,)."""
    size = config.max_length
    digit = np.zeros(size)
    digit[1] = 1.0
    tree = digit
    for _ in range(config.max_depth - 1):
        operator, arguments = np.zeros(size), np.zeros(size)
        arguments[0] = 1.0
        for count in range(1, config.max_args + 1):
            arguments = np.convolve(arguments, tree)[:size]
            if count >= config.min_args:
                operator[2:] += arguments[: size - 2]
        operator /= config.max_args - config.min_args + 1
        tree = (1 - config.p_operator) * digit + config.p_operator * operator
    return tree


def acceptance(config: ListOpsConfig) -> float:
    return float(length_probabilities(config)[config.min_length + 1 :].sum())


def lengths_of(table: pa.Table) -> np.ndarray:
    return np.array(table["tokens"].combine_chunks().value_lengths())


@pytest.fixture(scope="module")
def paper() -> pa.Table:
    return listops.generate(10_000, seed=11)


def test_vocabulary():
    digits = [str(digit) for digit in range(10)]
    expected = ["<pad>", *digits, "X", "[MAX", "[MED", "[MIN", "[SM", "<unk>"]
    assert expected == listops.VOCAB


def test_evaluator_of_this_test():
    assert evaluate(["[MAX", "2", "9", "[MIN", "4", "7", "X", "0", "X"]) == (9, 3, {2, 4})
    assert evaluate(["[MED", "1", "4", "X"])[0] == 2  # 2.5, truncated
    assert evaluate(["[SM", "9", "9", "9", "X"])[0] == 7
    with pytest.raises(AssertionError):
        evaluate(["[SM", "9", "X", "X"])


def test_labels_and_shape_of_paper_sized_expressions(paper):
    check(paper.slice(0, 3000), PAPER)
    assert paper.schema.field("tokens").type == pa.list_(pa.uint8())
    assert paper.schema.field("label").type == pa.int64()


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        ListOpsConfig(min_length=0, max_length=30, max_depth=3, min_args=1, max_args=4),
        ListOpsConfig(min_length=3, max_length=40, max_depth=3, max_args=12, p_operator=0.6),
    ],
)
def test_labels_and_shape_of_small_expressions(config):
    check(pa.concat_tables(listops.chunk(config, 1, index) for index in range(3)), config)


def test_every_depth_and_argument_count_occurs():
    found = [
        evaluate([listops.VOCAB[token] for token in tokens])
        for tokens in listops.chunk(SMALL, 2, 0)["tokens"].to_pylist()
    ]
    assert {levels for _, levels, _ in found} == {3, 4}  # 2 levels hold 7 tokens at most
    assert set.union(*(counts for _, _, counts in found)) == {2, 3, 4, 5}


def test_lengths_have_the_exact_distribution(paper):
    """Chi-square over 30 bins of equal probability, p > 1e-4."""
    exact = length_probabilities(PAPER)
    exact[: PAPER.min_length + 1] = 0
    cumulative = np.cumsum(exact / exact.sum())
    edges = np.searchsorted(cumulative, np.linspace(0, 1, 31)[1:-1])
    bins = np.searchsorted(edges, np.arange(PAPER.max_length))
    expected = np.bincount(bins, exact / exact.sum()) * len(paper)
    assert chisquare(np.bincount(bins[lengths_of(paper)]), expected).pvalue > 1e-4


def test_lengths_match_the_reference_simulation(paper):
    """Within 4 %: a quantile of 10,000 lengths has a standard error near 1 %."""
    lengths = lengths_of(paper)
    for share, length in LENGTH_QUANTILES.items():
        assert np.quantile(lengths, share) == pytest.approx(length, rel=0.04)
    assert lengths.mean() == pytest.approx(LENGTH_MEAN, rel=0.03)


def test_labels_match_the_reference_simulation(paper):
    """Chi-square with 9 degrees of freedom, p > 1e-4."""
    counts = np.bincount(paper["label"].to_numpy(), minlength=10)
    expected = np.array(LABEL_PERCENT) / sum(LABEL_PERCENT) * len(paper)
    assert chisquare(counts, expected).pvalue > 1e-4


def test_operators_digits_and_argument_counts_are_uniform():
    """In a window that hardly rejects anything, each is drawn uniformly: chi-square, p > 1e-4."""
    config = ListOpsConfig(min_length=1, max_length=2000, max_depth=2, max_args=9)
    table = pa.concat_tables(listops.chunk(config, 3, index) for index in range(5))
    tokens = np.bincount(table["tokens"].combine_chunks().flatten(), minlength=17)
    for drawn in (tokens[1:11], tokens[12:16], np.bincount(lengths_of(table) - 2)[2:]):
        assert chisquare(drawn).pvalue > 1e-4
    assert np.bincount(lengths_of(table) - 2).nonzero()[0].tolist() == list(range(2, 10))


def test_acceptance_rate():
    """Exactly 0.083 to three places; drawn, within 5 standard errors of the exact rate."""
    exact = acceptance(PAPER)
    assert exact == pytest.approx(ACCEPTANCE, abs=0.0005)
    tries = sum(listops._draw(PAPER, 5, index)[1] for index in range(10))
    error = np.sqrt(exact * (1 - exact) / tries)
    assert 10 * listops.CHUNK / tries == pytest.approx(exact, abs=5 * error)


def test_random_numbers_are_xoshiro256plusplus():
    """The published first outputs for state 1, 2, 3, 4 (prng.di.unimi.it/xoshiro256plusplus.c)."""
    outputs = [41943041, 58720359, 3588806011781223, 3591011842654386, 9228616714210784205]
    state = np.array([1, 2, 3, 4], np.uint64)
    drawn = [listops_kernel.uniform(state) for _ in outputs]
    assert drawn == [(output >> 11) / 2**53 for output in outputs]


def test_the_stream_of_a_seed_is_pinned():
    """Changed examples need a new VERSION and a new digest here: data sets are known by it."""
    table = listops.chunk(PAPER, 0, 0)
    values = table["tokens"].combine_chunks().flatten().to_numpy()
    digest = hashlib.sha256(values.tobytes() + table["label"].to_numpy().tobytes()).hexdigest()
    assert (listops.VERSION, digest[:16]) == (1, "d9c3774b86e08301")


def test_seed_and_index_decide():
    first = listops.chunk(SMALL, 7, 0)
    assert first.equals(listops.chunk(SMALL, 7, 0))
    assert not first.equals(listops.chunk(SMALL, 8, 0))
    assert not first.equals(listops.chunk(SMALL, 7, 1))


def test_generate_has_no_duplicates():
    tiny = {"min_length": 3, "max_length": 6, "max_depth": 2, "max_args": 3}  # 4,400 expressions
    raw = pa.concat_tables(listops.chunk(ListOpsConfig(**tiny), 0, index) for index in range(4))
    assert len(set(map(tuple, raw["tokens"].to_pylist()))) < len(raw)
    table = listops.generate(4000, 0, **tiny)
    assert len(table) == 4000
    assert len(set(map(tuple, table["tokens"].to_pylist()))) == 4000


def test_more_examples_than_exist():
    with pytest.raises(LRAError, match="different examples"):
        listops.generate(401, 0, min_length=3, max_length=5, max_depth=2, max_args=3)
    with pytest.raises(LRAError, match="at least 1"):
        listops.generate(0, 0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"min_length": 50, "max_length": 51}, "no length lies between"),
        ({"min_args": 5, "max_args": 4}, "min_args 5 is above max_args 4"),
        ({"max_depth": 3, "max_args": 4}, "longer than 26 tokens"),  # 2 + 4 * (2 + 4)
        ({"p_operator": 1.5}, "p_operator"),
        ({"max_arg": 4}, "max_arg"),
    ],
)
def test_impossible_configurations_are_refused(overrides, message):
    with pytest.raises(ValidationError, match=message):
        ListOpsConfig(**overrides)


@pytest.mark.parametrize(
    "overrides", [{"p_operator": 0.0}, {"min_length": 1995, "p_operator": 0.1}]
)
def test_hopeless_configurations_end_in_one_line(overrides, monkeypatch):
    monkeypatch.setattr(listops, "MIN_ACCEPTANCE", 1e-3)  # ten times sooner than in earnest
    with pytest.raises(LRAError, match="widen the window") as raised:
        listops.chunk(ListOpsConfig(**overrides), 0, 0)
    assert "\n" not in str(raised.value)


def test_configurations_are_given_up_at_the_stated_acceptance(monkeypatch):
    """1000 accepted trees: the drawn rate is within 15 % (5 standard errors) of the exact one."""
    monkeypatch.setattr(listops, "MIN_ACCEPTANCE", 0.85 * acceptance(SMALL))
    listops.chunk(SMALL, 0, 0)
    monkeypatch.setattr(listops, "MIN_ACCEPTANCE", 1.15 * acceptance(SMALL))
    with pytest.raises(LRAError, match="widen the window"):
        listops.chunk(SMALL, 0, 0)


@examples(60)
@given(
    min_length=st.integers(0, 30),
    width=st.integers(2, 60),
    max_depth=st.integers(1, 5),
    min_args=st.integers(1, 4),
    more_args=st.integers(0, 6),
    p_operator=st.sampled_from([0.05, 0.25, 0.5, 1.0]),
    seed=st.integers(0, 2**40),
)
def test_any_small_configuration(
    min_length, width, max_depth, min_args, more_args, p_operator, seed
):
    """Refused at once, given up for an acceptance below MIN_ACCEPTANCE, or right."""
    try:
        config = ListOpsConfig(
            min_length=min_length,
            max_length=min_length + width,
            max_depth=max_depth,
            min_args=min_args,
            max_args=min_args + more_args,
            p_operator=p_operator,
        )
    except ValidationError:
        return
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(listops, "MIN_ACCEPTANCE", 0.01)  # quicker than 0.0001, as good a test
            table = listops.chunk(config, seed, 0)
    except LRAError:
        assert acceptance(config) < 0.013  # 1000 accepted of 100,000: a standard error of 3 %
        return
    assert acceptance(config) > 0.008
    check(table.slice(0, 40), config)
