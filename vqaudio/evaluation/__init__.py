"""Measuring models: metrics, likelihoods, reports."""
