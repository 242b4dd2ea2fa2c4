"""The engine: a language model, and what is read, scored and written through it."""
