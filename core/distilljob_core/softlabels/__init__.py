"""Soft labels between students and aggregator: codecs, frames, the fingerprint of a split."""
