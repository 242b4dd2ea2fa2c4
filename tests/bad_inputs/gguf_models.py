"""GGUF files that are none, not whole, of another kind, or of what cannot be read."""

from gguf_files import write_gguf

from steerpaper.engine.fetch import fetch_model


def _file(change=None, **options):
    """A tiny model's file, made or damaged in some way, as `model.gguf.path`."""

    def case(folder, model):
        path = folder / "mine.gguf"
        whole = write_gguf(path, **options)
        if change:
            path.write_bytes(change(whole))
        where = {"path": str(path)}
        fetch_model(folder / "models/tiny", name="tiny", source="gguf", where=where)

    return case


def _no_file(folder, model):
    where = {"path": str(folder / "none.gguf")}
    fetch_model(folder / "models/tiny", name="tiny", source="gguf", where=where)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"

CASES = {
    "a GGUF file that is not there": _no_file,
    "a GGUF file that is empty": _file(lambda whole: b""),
    "a GGUF file that is another file": _file(lambda whole: b"PK\x03\x04" + whole),
    "a GGUF file that is a pointer to it": _file(lambda whole: POINTER),
    "a GGUF file that is cut in its weights": _file(lambda whole: whole[: len(whole) // 2]),
    "a GGUF file that is cut in its head": _file(lambda whole: whole[:20]),
    "a GGUF file of an unknown architecture": _file(arch="tea"),
    "a GGUF file without a tokenizer": _file(without=["tokenizer:"]),
    "a GGUF file that holds an adapter": _file(fields={"general.type": "adapter"}),
    "a GGUF file that is one of several parts": _file(fields={"split.count": 3}),
    "a GGUF file whose rotary positions are scaled": _file(
        fields={"llama.rope.scaling.type": "yarn"}
    ),
    "a GGUF file with two sets of rotary factors": _file(
        extra={"rope_factors_long.weight": [1.0] * 4}
    ),
    "a GGUF file of a quantization that is not read": _file(kind="Q8_K", width=256),
    "a GGUF file without one of its tensors": _file(without=["blk.1.ffn_up"]),
}
