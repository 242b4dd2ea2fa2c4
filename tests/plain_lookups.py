"""The lookups study the plain way: one prompt, neuron and head at a time, hooks, no batches.

What a norm does is not known here but asked of the norm itself.
"""

from copy import copy

import numpy as np
import plain
import torch


def watch(lm, ids, places=None):
    """Input and output of modules inside the blocks, on one prompt, by (block, path): all, or
    those of `places`."""
    seen, handles = {}, []
    for layer, block in enumerate(lm.blocks):
        for path, module in block._module.named_modules():

            def keep(module, inputs, output, key=(layer, path)):
                if inputs and isinstance(output, torch.Tensor):
                    seen[key] = tokens(inputs[0]), tokens(output)

            if places is None or (layer, path) in places:
                handles.append(module.register_forward_hook(keep))
    try:
        with torch.no_grad():
            lm.nn._module(input_ids=torch.tensor([list(ids)]))
    finally:
        for handle in handles:
            handle.remove()
    return seen


def tokens(x):
    """[token, ...] of one row, which some blocks have in one axis with the tokens."""
    return x.reshape(-1, x.shape[-1]).clone()


def frozen(block, path, x):
    """A norm as a function of what is added to its input, its scale being what it is at x.

    Nothing, where there is no norm.
    """
    if not path:
        return lambda added: added
    module = block.get_submodule(path)
    twin = copy(module)
    twin._parameters = {
        name: None if weight is None else weight.double()
        for name, weight in module._parameters.items()
    }

    def norm(x):
        return type(module).forward(twin, x).double()

    x = x.detach().double()
    # odd but for a constant, and unmoved by a mean where it takes that away
    odd = (norm(x) - norm(-x)) / 2
    takes_mean = torch.allclose(norm(x + 3.0), norm(x), rtol=1e-4, atol=1e-4)

    def centred(v):
        return v - v.mean(-1, keepdim=True) if takes_mean else v

    factor = odd / centred(x)
    return lambda added: centred(added.double()) * factor


def of_length_one(width):
    """A vector whose mean square is 1 and whose mean is 0, so that a norm's scale at it is 1."""
    x = torch.randn(width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = x - x.mean()
    return x / x.square().mean().sqrt()


def multiplier(lm):
    """What a block's heads and neurons are multiplied by, where the configuration says so."""
    config = lm.nn._module.config
    if config.model_type == "minicpm3":
        return config.scale_depth / config.num_hidden_layers**0.5
    return getattr(config, "residual_multiplier", 1.0)


def written(module, x, part):
    """What a part of a projection's input adds to its output."""
    without = x.clone()
    without[part] = 0
    with torch.no_grad():
        return module(x) - module(without)


def best_token(lm, layer, neuron):
    """The token that a neuron is most congruent with, and how much: the neuron on its own."""
    module, block = lm.nn._module, lm.blocks[layer]._module
    one = torch.zeros(out_of(block, lm.parts.mlp_out))
    one[neuron] = 1
    adds = written(block.get_submodule(lm.parts.mlp_out), one, neuron)
    adds = frozen(block, lm.parts.neurons_norm, of_length_one(lm.width))(adds) * multiplier(lm)
    adds = frozen(module, lm.where.final_norm, of_length_one(lm.width))(adds)
    logits = module.get_output_embeddings().weight.double() @ adds.double()
    logits = logits - logits.mean()
    return int(logits.argmax()), logits.max().item()


def out_of(block, path):
    """How many numbers a projection reads."""
    return output_weight(block.get_submodule(path)).shape[0]


def activations(lm, ids, layer):
    """Neurons' activations of a block: [token, neuron]."""
    place = layer, lm.parts.mlp_out
    return watch(lm, ids, [place])[place][0]


def start(lm, bos):
    return [lm.tokenizer.bos_token_id] if bos else []


def top(lm, neurons, prompts, k, bos):
    """Full sort of every prompt's maximum: [(layer, neuron, [(activation, prompt, position)])]."""
    before, path = start(lm, bos), lm.parts.mlp_out
    found = {(layer, neuron): [] for layer, chosen in neurons.items() for neuron in chosen}
    for number, ids in enumerate(prompts):
        seen = watch(lm, before + ids, [(layer, path) for layer in neurons])
        for layer, neuron in found:
            column = seen[layer, path][0][len(before) :, neuron].tolist()
            highest = max(column)
            found[layer, neuron].append((highest, number, column.index(highest)))
    return [
        (layer, neuron, sorted(entries, key=lambda entry: (-entry[0], entry[1]))[:k])
        for (layer, neuron), entries in found.items()
    ]


def truncate(lm, layer, neuron, ids, ratio, bos):
    """Bisection over the first token's position, as Neo et al.: kept length and activation."""

    def run(first):
        return activations(lm, start(lm, bos) + ids[first:], layer)[-1, neuron].item()

    value = original = run(0)
    enough, missed = 0, len(ids) - 1
    while (middle := (enough + missed) // 2) != enough:
        got = run(middle)
        if got > ratio * original:
            enough, value = middle, got
        else:
            missed = middle
    return len(ids) - enough, value


def shortest(lm, layer, neuron, ids, ratio, bos):
    """All suffix lengths from 1 on, one after the other: kept length and activation."""
    original = activations(lm, start(lm, bos) + ids, layer)[-1, neuron].item()
    for length in range(1, len(ids) + 1):
        got = activations(lm, start(lm, bos) + ids[-length:], layer)[-1, neuron].item()
        if got >= ratio * original:
            return length, got
    raise AssertionError("the whole prompt keeps its own activation")


def always_of(lm, layer):
    """What a block's heads give whatever they attend to: values of the norm's bias, and theirs."""
    block, kind = lm.blocks[layer]._module, lm.nn._module.config.model_type
    if kind == "gpt2":
        whole = block.attn.c_attn(block.ln_1.bias)
        return whole[2 * lm.width :]
    if kind == "gpt_neox":
        attention = block.attention
        whole = attention.query_key_value(block.input_layernorm.bias)
        size = lm.width // lm.nn._module.config.num_attention_heads
        return whole.view(-1, 3 * size)[:, 2 * size :].flatten()
    value = block.self_attn.v_proj
    config = lm.nn._module.config
    size = lm.width // config.num_attention_heads
    bias = torch.zeros(value.weight.shape[0]) if value.bias is None else value.bias
    groups = config.num_attention_heads // config.num_key_value_heads
    return bias.view(-1, size).repeat_interleave(groups, dim=0).flatten()


def output_weight(module):
    """[input, output], whichever way the module keeps it."""
    return module.weight.T if isinstance(module, torch.nn.Linear) else module.weight


def into(lm, layer, x):
    """What goes into a block's neurons, [neuron]: the gate (or None) and what it multiplies."""
    block, parts = lm.blocks[layer]._module, lm.parts
    if parts.mlp_gate == parts.mlp_in:
        return block.get_submodule(parts.mlp_in)(x).chunk(2, dim=-1)
    gate = block.get_submodule(parts.mlp_gate)(x) if parts.mlp_gate else None
    return gate, block.get_submodule(parts.mlp_in)(x)


def input_direction(lm, layer, neuron, normed, published):
    """What the neuron reads of what its MLP is given [d], by autograd."""
    act = lm.blocks[layer]._module.get_submodule(lm.parts.activation)
    with torch.enable_grad():
        x = normed.clone().requires_grad_()
        gate, value = into(lm, layer, x)
        if gate is not None and not published:
            value = act(gate) * value
        (gradient,) = torch.autograd.grad(value[neuron], x)
    return gradient.detach()


def attribution(lm, layer, neuron, ids, bos, published=False):
    """[block, head] at the last token: what is lost of what the neuron reads, head after head."""
    parts, block = lm.parts, lm.blocks[layer]._module
    places = [(source, parts.heads_out) for source in range(layer + 1)]
    seen = watch(lm, start(lm, bos) + ids, [*places, (layer, parts.entry), (layer, parts.mlp_in)])
    residual, normed = seen[layer, parts.entry][0][-1], seen[layer, parts.mlp_in][0][-1]
    direction = input_direction(lm, layer, neuron, normed, published).double()
    read = frozen(block, parts.mlp_norm, residual)
    last = layer - 1 if published or parallel(lm) else layer
    n_heads = lm.nn._module.config.num_attention_heads
    table = np.zeros((last + 1, n_heads))
    for source in range(last + 1):
        z, out = (part[-1] for part in seen[source, parts.heads_out])
        own = lm.blocks[source]._module
        behind = frozen(own, parts.heads_norm, out)
        if published:
            z = z - always_of(lm, source).detach()
        size = len(z) // n_heads
        for head in range(n_heads):
            lost = written(
                own.get_submodule(parts.heads_out), z, slice(head * size, (head + 1) * size)
            )
            table[source, head] = read(behind(lost) * multiplier(lm)).double() @ direction
    return table


def parallel(lm):
    config = lm.nn._module.config
    if config.model_type in ("gptj", "codegen", "phi", "cohere", "cohere2"):
        return True
    if config.model_type == "falcon":
        return config.parallel_attn or config.new_decoder_architecture
    return getattr(config, "use_parallel_residual", False)


def ablation(lm, ablation, units):
    """Log-probability of the token with and without a unit, and the unit at the last token.

    `units` is how many of the site's units lie side by side in a block.
    """
    path = getattr(lm.parts, {"heads": "heads_out", "neurons": "mlp_out"}[ablation.site])
    seen = {}

    def zero(module, inputs):
        changed = inputs[0].clone()
        size = changed.shape[-1] // units
        own = slice(ablation.unit * size, (ablation.unit + 1) * size)
        seen["value"] = tokens(changed)[-1, own]
        changed[..., own] = 0
        return (changed,)

    clean, _ = plain.forward(lm, ablation.prompt)
    module = lm.blocks[ablation.layer]._module.get_submodule(path)
    handle = module.register_forward_pre_hook(zero)
    try:
        without, _ = plain.forward(lm, ablation.prompt)
    finally:
        handle.remove()
    logprobs = [x[-1].log_softmax(-1)[ablation.token].item() for x in (clean, without)]
    value = seen["value"]
    return *logprobs, (value[0] if len(value) == 1 else value.norm()).item()
