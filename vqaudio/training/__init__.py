"""Corpora, shards, the training loop and its log."""
