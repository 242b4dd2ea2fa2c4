"""Model folders that cannot be used: damaged files, absurd values, weights of another model."""

import json
import shutil
import struct

from steerpaper.engine.fetch import fetch_model

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
UP = "model.layers.2.mlp.up_proj.weight"
# jinja's sandbox ends one loop after 100,000 rounds, but not loops in loops
LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


def _damaged(damage):
    """A copy of the model, damaged by a function of its folder, as `model.path`."""

    def case(folder, model):
        mine = folder / "mine"
        shutil.copytree(model, mine)
        damage(mine)
        fetch_model(folder / "models/tiny", name="tiny", source="path", where=str(mine))

    return case


def _written(name, content):
    """A file of the folder replaced by text, bytes, or a value as JSON."""

    def damage(mine):
        if isinstance(content, bytes):
            (mine / name).write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            (mine / name).write_text(text)

    return _damaged(damage)


def _changed(name, **values):
    """A JSON file of the folder with other values; `...` leaves the key out."""

    def damage(mine):
        path = mine / name
        content = json.loads(path.read_text()) | values
        path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))

    return _damaged(damage)


def _config(**values):
    return _changed("config.json", **values)


def _tensors(change):
    """The weights written again, changed by a function of the mapping of tensors."""

    def damage(mine):
        from safetensors.torch import load_file, save_file

        save_file(change(load_file(mine / WEIGHTS)), mine / WEIGHTS, {"format": "pt"})

    return _damaged(damage)


def _cut(name, keep):
    """A file of which only a share is left."""

    def damage(mine):
        content = (mine / name).read_bytes()
        (mine / name).write_bytes(content[: int(len(content) * keep)])

    return _damaged(damage)


def _indexed(weight_map):
    """An index in place of the one file of weights."""

    def damage(mine):
        (mine / WEIGHTS).rename(mine / "part.safetensors")
        (mine / "pytorch_model.bin").write_bytes(b"pickle")
        shutil.copy(mine / "part.safetensors", mine.parent / "outside.safetensors")
        (mine / INDEX).write_text(json.dumps({"weight_map": weight_map}))

    return _damaged(damage)


def _not_finite(value):
    def change(tensors):
        tensors[UP][3, 5] = value
        return tensors

    return _tensors(change)


def _integers(tensors):
    import torch

    return {name: (100 * tensor).to(torch.int8) for name, tensor in tensors.items()}


def _without(name):
    return _damaged(lambda mine: (mine / name).unlink())


def _with_token(special, template=None):
    """One token more than the embedding has rows."""

    def damage(mine):
        path = mine / "tokenizer.json"
        content = json.loads(path.read_text())
        like = content["added_tokens"][0]
        token = {**like, "id": 600, "content": "<|new|>", "special": special}
        content["added_tokens"].append(token)
        path.write_text(json.dumps(content))
        if template:
            (mine / "chat_template.jinja").write_text(template)

    return _damaged(damage)


def _prefixed(prefix):
    return _tensors(lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()})


GPTQ = {"quant_method": "gptq", "bits": 4}
CODE = {"AutoTokenizer": ["mine.Tokenizer", None]}

CASES = {
    "a folder without config.json": _without("config.json"),
    "config.json that is a list": _written("config.json", [1]),
    "config.json that is null": _written("config.json", None),
    "config.json that is not JSON": _written("config.json", "{"),
    "config.json of 100,000 brackets": _written("config.json", "[" * 100_000),
    "config.json that is not text": _written("config.json", b"\xff\xfe\x00"),
    "a model type that is a list": _config(model_type=["llama"]),
    "a model type that is missing": _config(model_type=...),
    "a number of blocks that is missing": _config(num_hidden_layers=...),
    "a million blocks": _config(num_hidden_layers=10**6),
    "a number of blocks that is text": _config(num_hidden_layers="four"),
    "a width that is negative": _config(hidden_size=-32),
    "a width of 10**12": _config(hidden_size=10**12),
    "a vocabulary of 10**12": _config(vocab_size=10**12),
    "heads of 10**9 numbers": _config(head_dim=10**9),
    "a context of 10**12 tokens": _config(max_position_embeddings=10**12),
    "a context that is false": _config(max_position_embeddings=False),
    "heads that do not divide the width": _config(num_attention_heads=5),
    "no heads": _config(num_attention_heads=0),
    "key heads that do not divide the heads": _config(num_key_value_heads=3),
    "an activation function that there is not": _config(hidden_act="nope"),
    "an epsilon that is text": _config(rms_norm_eps="small"),
    "an epsilon that is not a number": _config(rms_norm_eps=float("nan")),
    "a sliding window that is text": _config(sliding_window="wide"),
    "rotary positions of an unknown kind": _config(rope_parameters={"rope_type": "nope"}),
    "rotary positions that are a list": _config(rope_parameters=[1]),
    "a padding token out of the vocabulary": _config(pad_token_id=10**6),
    "tied embeddings that are text": _config(tie_word_embeddings="no"),
    "labels that are a number": _config(id2label=5),
    "GPTQ weights": _config(quantization_config=GPTQ),
    "AWQ weights": _config(quantization_config={"quant_method": "awq", "bits": 4}),
    "a quantization that is a list": _config(quantization_config=[]),
    "attention by a kernel from the hub": _config(attn_implementation="someone/kernel"),
    "generation_config.json that is a list": _written("generation_config.json", [1]),
    "an end token that is text": _changed("generation_config.json", eos_token_id="end"),
    "a generation setting of the wrong kind": _changed("generation_config.json", max_new_tokens=-1),
    "no weights": _without(WEIGHTS),
    "weights that are random bytes": _written(WEIGHTS, bytes(range(256)) * 20),
    "weights that are empty": _written(WEIGHTS, b""),
    "weights that are cut off": _cut(WEIGHTS, 0.6),
    "weights with an absurdly long header": _written(WEIGHTS, struct.pack("<Q", 2**60) + b"{}"),
    "weights with a header that is not JSON": _written(WEIGHTS, struct.pack("<Q", 8) + b"abcdefgh"),
    "weights without a tensor": _tensors(lambda tensors: {}),
    "one tensor is missing": _tensors(lambda t: {k: v for k, v in t.items() if k != UP}),
    "names with module. in front": _prefixed("module."),
    "names with base_model.model. in front": _prefixed("base_model.model."),
    "8 blocks configured, 4 in the file": _config(num_hidden_layers=8),
    "2 blocks configured, 4 in the file": _config(num_hidden_layers=2),
    "int8 weights without scales": _tensors(_integers),
    "a weight that is not a number": _not_finite(float("nan")),
    "a weight that is infinite": _not_finite(float("-inf")),
    "an adapter beside the weights": _written("adapter_config.json", {}),
    "an index that names a pickle": _indexed({UP: "pytorch_model.bin"}),
    "an index that names a file outside": _indexed({UP: "../outside.safetensors"}),
    "an index that names a file that is not there": _indexed({UP: "other.safetensors"}),
    "an index that names a number": _indexed({UP: 5}),
    "an index without a map": _indexed([]),
    "a folder without tokenizer.json": _without("tokenizer.json"),
    "tokenizer.json that is a list": _written("tokenizer.json", [1]),
    "tokenizer.json that is cut off": _cut("tokenizer.json", 0.6),
    "tokenizer.json of a kind that there is not": _changed("tokenizer.json", model={"type": "X"}),
    "tokenizer_config.json that is a list": _written("tokenizer_config.json", [1]),
    "an end-of-sequence token that is a number": _changed("tokenizer_config.json", eos_token=5),
    "special_tokens_map.json that is a list": _written("special_tokens_map.json", [1]),
    "a tokenizer with code of its own": _changed(
        "tokenizer_config.json", auto_map=CODE, tokenizer_class="Mine"
    ),
    "a tokenizer larger than the embedding": _with_token(special=False),
    "a chat template with a token that the embedding has not": _with_token(
        special=True, template="<|new|>{{ messages[0].content }}"
    ),
    "a chat template that is a number": _damaged(
        lambda mine: (
            (mine / "chat_template.jinja").unlink(),
            _set(mine / "tokenizer_config.json", chat_template=5),
        )
    ),
    "a chat template that is broken": _written("chat_template.jinja", "{% for %}"),
    "a chat template that asks for what is not there": _written(
        "chat_template.jinja", "{{ messages[7].content.nothing }}"
    ),
    "a chat template that reaches for Python": _written(
        "chat_template.jinja", "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    ),
    "a chat template of loops in loops": _written("chat_template.jinja", LOOPS),
    "a chat template that computes a huge number": _written(
        "chat_template.jinja", "{{ 9 ** (9 ** 9) }}"
    ),
    "a chat template that never comes to the point": _written(
        "chat_template.jinja", "{{ 'a' * 10**6 }}"
    ),
    "a chat template that takes all memory": _written("chat_template.jinja", "{{ 'a' * 10**11 }}"),
}


def _set(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
