"""Layers that the network shares."""

from torch import nn


def cell_by_cell(channels: int, out: int) -> nn.Linear:
    return nn.Linear(channels, out)
