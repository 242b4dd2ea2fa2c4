"""The engine: a language model, its forward pass, and what is read, scored and written through it."""
