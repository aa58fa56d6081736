"""Almenara: which news sites are blocked, from inside the networks that may block them."""

__version__ = "0.1.0"
