"""Codes to bytes and back: the container, the entropy coders, the stream in memory. Free of torch."""
