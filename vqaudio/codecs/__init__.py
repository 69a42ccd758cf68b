"""Models that code: encode, decode, sample, stream."""
