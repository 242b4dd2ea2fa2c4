"""Random streams that depend on what they are for, never on the order of the work."""

import hashlib

import numpy as np


def stream(*what: object) -> np.random.Generator:
    """A random generator for a purpose, named by values such as (seed, behaviour, prompt id).

    Equal values give equal streams on every machine; different values give unrelated ones.
    """
    digest = hashlib.sha256(repr(what).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
