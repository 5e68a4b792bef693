"""Rill: lazy arrays on streams."""

from rill import core

__all__ = ["core"]
