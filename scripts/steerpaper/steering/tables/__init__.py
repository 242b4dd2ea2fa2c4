"""Summaries of the steering study: tidy tables with intervals and n; no torch."""
