"""The lookups study (Neo et al. 2024): which heads look up the context for a neuron."""
