"""Strategies as the command line spells them."""

from __future__ import annotations

import attrs
import click
import pytest

from endpointslice import (
    ExitOrder,
    Generational,
    KubernetesPacking,
    MinimalWrites,
    ModelError,
    Moves,
    Packing,
    PackingStrategy,
)
from endpointslice.cli.commands import plan
from endpointslice.cli.strategies import STRATEGIES, parse_strategy, strategy_title
from endpointslice.diff import Diff


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("kubernetes", KubernetesPacking()),
        ("minimal", MinimalWrites()),
        ("minimal:merge=true", MinimalWrites()),
        ("minimal:merge=false", MinimalWrites(merge=False)),
        ("minimal-no-merge", MinimalWrites(merge=False)),
        ("minimal-no-merge:merge=true", MinimalWrites()),
        ("minimal:exit_order=uid", MinimalWrites(exit_order=ExitOrder.UID)),
        ("generational", Generational()),
        ("generational:min_fill=0.9", Generational(min_fill=0.9)),
        ("generational:min_fill=1", Generational(min_fill=1.0)),
        (
            "generational:moves=never:exit_order=node",
            Generational(moves=Moves.NEVER, exit_order=ExitOrder.NODE),
        ),
    ],
)
def test_a_strategy_is_its_name_and_its_options(text: str, strategy: PackingStrategy) -> None:
    assert parse_strategy(text) == strategy


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_name_alone_is_the_strategy_with_its_defaults(name: str) -> None:
    assert parse_strategy(name) is not None
    assert parse_strategy(name) == STRATEGIES[name]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("best", f"strategy: must be one of {', '.join(STRATEGIES)}, got 'best'"),
        ("", f"strategy: must be one of {', '.join(STRATEGIES)}, got ''"),
        ("Minimal", f"strategy: must be one of {', '.join(STRATEGIES)}, got 'Minimal'"),
        (
            "generational:fill=1",
            "strategy generational: must have options as OPTION=VALUE: min_fill, ",
        ),
        ("minimal:", "strategy minimal: must have options as OPTION=VALUE: merge, exit_order, got"),
        ("kubernetes:x=1", "strategy kubernetes: must have options as OPTION=VALUE: none, "),
        ("minimal:merge=true:merge=true", "strategy minimal: must have an option only once, "),
        ("minimal:merge=maybe", "merge: must be one of true, false, got 'maybe'"),
        ("minimal:merge", "merge: must be one of true, false, got ''"),
        ("generational:min_fill=much", "min_fill: must be a number, got 'much'"),
        ("generational:min_fill=0", "min_fill: must be a number above 0 and at most 1, got 0.0"),
        ("generational:min_fill=nan", "min_fill: must be a number above 0 and at most 1, got nan"),
        ("generational:exit_order=age", "exit_order: must be one of auto, "),
        ("generational:volatile=x", "strategy generational: must have options as OPTION=VALUE: "),
        ("minimal:exit_order=age", "exit_order: must be one of auto, node, uid, ordinal, key, got"),
        ("generational:moves=some", "moves: must be one of any, unchanged, never, got 'some'"),
    ],
)
def test_what_is_no_strategy_is_told_from_what_is(text: str, problem: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse_strategy(text)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(
    ("strategy", "title"),
    [
        (MinimalWrites(), "minimal"),
        (MinimalWrites(merge=False), "minimal:merge=false"),
        (MinimalWrites(exit_order=ExitOrder.AUTO), "minimal:exit_order=auto"),
        (KubernetesPacking(), "kubernetes"),
        (Generational(), "generational"),
        (
            Generational(moves=Moves.UNCHANGED, min_fill=0.9),
            "generational:min_fill=0.9:moves=unchanged",
        ),
    ],
)
def test_the_title_of_a_strategy_stands_for_it(strategy: PackingStrategy, title: str) -> None:
    assert strategy_title(strategy) == title
    assert parse_strategy(title) == strategy


@attrs.frozen
class Wrapped:
    """A strategy that the command line does not know."""

    inner: PackingStrategy

    def pack(self, diff: Diff) -> Packing:
        return self.inner.pack(diff)


def test_a_strategy_without_a_name_is_called_as_it_calls_itself() -> None:
    assert strategy_title(Wrapped(KubernetesPacking())) == "Wrapped(inner=KubernetesPacking())"


def test_names_are_offered_for_completion() -> None:
    (option,) = (option for option in plan.params if option.name == "strategy")
    with click.Context(plan) as context:
        found = [item.value for item in option.shell_complete(context, "mini")]
    assert found == ["minimal", "minimal-no-merge"]
