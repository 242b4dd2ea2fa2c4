"""The engine: a language model, and what is read, scored and written through it."""

from steerpaper.engine.lean import put_off

# before any module of the engine imports torch
put_off()
