"""What the figures of a training report mean, in a line each. docs/models.md says more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["FIGURES", "legend"]

FIGURES = MappingProxyType(
    {
        "mae": "mean absolute error, in the channel's unit; less is better",
        "rmse": "root mean square error; more than the mae where some errors are large",
        "mae_last_value": "that of saying the last value again",
        "skill": "1 - mae / mae_last_value; below 0 is worse than the last value, 1 is perfect",
        "nll": "nats of surprise a value, of mean and spread; less is better",
        "nll_last_value": "that of the last value with its best single spread",
        "coverage_90": "share within the 90 % that the spread names; 0.9 is right",
        "coverage": "share between the two quantiles; their difference is right (0.8)",
        "below_low": "share below the low quantile; that quantile is right (0.1)",
        "accuracy": "share for which the likeliest is right",
        "accuracy_commonest": "that of always saying the commonest; less is worse",
        "log_loss": "nats of surprise a label; less is better",
        "log_loss_shares": "that of the bare shares of the classes; more is worse",
        "recall": "share of a class that is found",
        "auroc": "how often one of the class scores above another; 0.5 is chance, 1 perfect",
        "r2": "share of the variance explained; 0 is saying the mean, 1 is perfect",
        "bits": "surprise a token; less is better",
        "bits_shares": "that of the bare shares of the tokens; more is worse",
    }
)


def legend(*measures: Mapping[str, Any]) -> list[str]:
    """A line for each figure that some measures hold.

    >>> legend({"samples": 7, "targets": {"next": {"r2": 0.5}}})
    ['  r2: share of the variance explained; 0 is saying the mean, 1 is perfect']
    """
    there = {name for found in measures for name in _names(found)}
    return [f"  {name}: {words}" for name, words in FIGURES.items() if name in there]


def _names(found: Mapping[str, Any]) -> Iterator[str]:
    for name, value in found.items():
        yield name
        if isinstance(value, Mapping):
            for each in value.values():
                yield from each
