"""Figures: functions from tables to matplotlib figures, and the one style they share."""
