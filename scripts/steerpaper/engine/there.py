"""What runs where the model is: passes and what is recorded to be done around them.

nnsight sends these functions as their source, so they use nothing but torch and what they are
given: lists, tuples, dicts, numbers and tensors (see `engine.recorded`), and nnsight's model.
"""

from typing import Any

import torch


def run_there(nn: Any, where: Any, programs: Any) -> Any:
    """Run some programs one after the other; what each is asked for, on the CPU.

    Args:
        nn: nnsight's model.
        where: paths of its final norm and its unembedding, and how these are called.
        programs: steps, the tensors that they are given, and the numbers of what is asked for.
    """
    found = []
    for steps, given, wanted in programs:
        env: dict[int, Any] = {}
        with torch.set_grad_enabled(any(step[0] == "gradients" for step in steps)):
            _do(nn, where, steps, given, env, torch.device("cpu"))
            found.append([env[number].detach().cpu() for number in wanted])
    return found


def _do(nn: Any, where: Any, steps: Any, given: Any, env: Any, device: Any) -> None:
    """Do steps in order; `env` has every tensor that was made, by number.

    Args:
        device: where tensors go that meet none that was made.
    """
    for kind, name, made, args, named in steps:
        if kind == "pass":
            _pass(nn, where, args, given, env)
            continue
        tensors: list[Any] = []
        _look(args, env, tensors)
        _look(named, env, tensors)
        place = tensors[0].device if tensors else device
        args = _with(args, given, env, place)
        named = {key: _with(one, given, env, place) for key, one in named.items()}
        if kind == "logits":
            result = _logits(nn, where, args[0])
        elif kind == "method":
            result = getattr(args[0], name)(*args[1:], **named)
        elif kind == "gradients":
            result = torch.autograd.grad(args[0], args[1])
        elif kind == "attribute":
            result = getattr(args[0], name)
        else:
            home = torch.nn.functional if kind == "functional" else torch
            result = getattr(home, name)(*args, **named)
        if isinstance(made, list):
            env.update(zip(made, result, strict=True))
        elif made is not None:
            # what was changed in its place keeps its number
            env[made] = result


def _look(args: Any, env: Any, found: Any) -> None:
    """Collect the tensors that were made and stand in arguments."""
    if isinstance(args, dict):
        if "made" in args:
            found.append(env[args["made"]])
            return
        args = list(args.values())
    if isinstance(args, (list, tuple)):
        for one in args:
            _look(one, env, found)
    elif isinstance(args, slice):
        _look([args.start, args.stop, args.step], env, found)


def _with(args: Any, given: Any, env: Any, device: Any) -> Any:
    """Arguments with tensors in the place of their numbers, on one device."""
    if isinstance(args, dict):
        if "made" in args:
            return env[args["made"]].to(device)
        if "given" in args:
            return _given(given, args["given"]).to(device)
    if isinstance(args, list):
        return [_with(one, given, env, device) for one in args]
    if isinstance(args, tuple):
        return tuple([_with(one, given, env, device) for one in args])
    return args


def _given(given: Any, number: int) -> Any:
    """A tensor that was sent: whole, or its different rows and where each stands."""
    tensor, rows = given[number]
    if rows is None:
        return tensor
    return tensor[rows]


def _part(nn: Any, path: str) -> Any:
    for step in path.split(".") if path else []:
        nn = getattr(nn, step)
    return nn


def _pass(nn: Any, where: Any, one: Any, given: Any, env: Any) -> None:
    """One pass of the model: at each site what is recorded to be done there, in order."""
    inputs = {name: _given(given, number) for name, number in one["inputs"].items()}
    sites = one["sites"]
    with nn.trace(inputs, **one["options"]) as tracer:
        for site in sites:
            _at(nn, where, site, given, env)
        tracer.stop()
    for number in one["drop"]:
        env.pop(number, None)


def _at(nn: Any, where: Any, site: Any, given: Any, env: Any) -> None:
    """What is recorded to be done at a site: an edit, and what is read of it after that."""
    part = _part(nn, site["path"])
    here = part.input if site["end"] == "input" else part.output
    if site["take"] == "first":
        here = here[0]
    elif site["take"] == "logits":
        here = here.logits
    if here.dim() == 2:
        # rows and tokens in one axis, as OPT's MLP has them
        here = here.unflatten(0, (site["rows"], -1))
    if site["take"] in ("gate", "past"):
        here = here.chunk(2, dim=-1)[site["take"] == "past"]
    env[site["tensor"]] = here
    _do(nn, where, site["edit"], given, env, here.device)
    if site["edited"] is not None:
        here[:] = env[site["edited"]]
    _do(nn, where, site["look"], given, env, here.device)


def _logits(nn: Any, where: Any, residual: Any) -> Any:
    """Logits in float32 from the residual stream after the last block, whatever type it has."""
    norm, unembedding = _part(nn, where["norm"]), _part(nn, where["unembedding"])
    # a service may run jobs in a shorter type by itself
    with torch.autocast(residual.device.type, enabled=False):
        residual = residual.float()
        if where["norm"] and where["layer_norm"]:
            weight, bias = norm.weight, norm.bias
            residual = residual.to(weight.device)
            residual = torch.nn.functional.layer_norm(
                residual,
                weight.shape,
                weight.float(),
                None if bias is None else bias.float(),
                where["epsilon"],
            )
        elif where["norm"]:
            # its weights are of a shorter type: a product of both is in float32
            residual = norm(residual).float()
        weight = unembedding.weight
        bias = getattr(unembedding, "bias", None)
        residual = residual.to(weight.device)
        # cast a part at a time: the whole would be as large again as the unembedding, twice
        parts = [torch.nn.functional.linear(residual, rows.float()) for rows in weight.split(16384)]
        logits = torch.cat(parts, dim=-1)
        return logits if bias is None else logits + bias.float()
