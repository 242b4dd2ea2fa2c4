"""Judges: who reads texts and answers about them; used by both studies."""
