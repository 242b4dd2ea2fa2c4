"""Next-token neurons: output weights that point at one token (Neo et al. 2024, section 3)."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from steerpaper.engine.model import LanguageModel
from steerpaper.engine.weights import final_norm, neurons_out, unembedding
from steerpaper.errors import UserError
from steerpaper.seeds import stream

# numbers of a chunk of tokens × neurons: 64 MB in float32, whatever the model
CHUNK = 2**24


@dataclass(frozen=True)
class Best:
    """Highest congruence, seen from neurons and from tokens.

    Attributes:
        token: per chosen block, the token id that each neuron is most congruent with [neuron].
        congruence: per chosen block, how much [neuron].
        layer: [V] for every token, the block of the neuron most congruent with it.
        neuron: [V] that neuron.
        token_congruence: [V] how much.
    """

    token: dict[int, NDArray[np.int64]]
    congruence: dict[int, NDArray[np.float32]]
    layer: NDArray[np.int64]
    neuron: NDArray[np.int64]
    token_congruence: NDArray[np.float32]


def congruence(written: Tensor, read: Tensor) -> Tensor:
    """s_i(t) = <W_out[i], W_U[:, t]>: [neuron, token] of [neuron, d] and [token, d].

    Where a norm stands behind the MLP, W_out[i] has that norm's gain folded in and not its scale: a
    positive number a token and block, which no neuron of a block has over another.
    """
    return written @ read.T


def read_directions(lm: LanguageModel) -> Tensor:
    """W_U with the final norm folded in, centred over the vocabulary: float32 [V, d].

    Centring subtracts one number from all congruences of a neuron: what every token gains, no
    token gains over another.
    """
    folded = final_norm(lm).fold(unembedding(lm)).float()
    return folded - folded.mean(dim=0, keepdim=True)


def best_congruence(
    blocks: Iterable[Tensor], read: Tensor, layers: Sequence[int], chunk: int = CHUNK
) -> Best:
    """Best token of every neuron of some blocks and best neuron of every token, in chunks.

    Vocabulary × neurons is never held whole; of equals the lower token, block or neuron is taken.

    Args:
        blocks: W_out [neuron, d] of block 0, 1, ….
        read: [V, d] (see `read_directions`).
        layers: the blocks whose neurons' tokens are asked for.
        chunk: numbers that a piece of the table may have.
    """
    tokens: dict[int, NDArray[np.int64]] = {}
    scores: dict[int, NDArray[np.float32]] = {}
    best = torch.full((len(read),), -torch.inf, device=read.device)
    where = torch.zeros(2, len(read), dtype=torch.long, device=read.device)
    size = max(1, chunk // len(read))
    for layer, written in enumerate(blocks):
        found = []
        for start in range(0, len(written), size):
            table = congruence(written[start : start + size], read)
            if layer in layers:
                found.append(table.max(dim=1))
            high = table.amax(dim=0)
            # argmax is slow and few tokens find a better neuron than before
            better = (high > best).nonzero()[:, 0]
            where[0, better] = layer
            where[1, better] = table[:, better].argmax(dim=0) + start
            best[better] = high[better]
        if layer in layers:
            scores[layer] = torch.cat([part.values for part in found]).cpu().numpy()
            tokens[layer] = torch.cat([part.indices for part in found]).cpu().numpy()
    block, neuron = where.cpu().numpy()
    return Best(tokens, scores, block, neuron, best.cpu().numpy())


def model_congruence(lm: LanguageModel, layers: Sequence[int]) -> Best:
    """`best_congruence` of a model's neurons."""
    read = read_directions(lm)
    blocks = (neurons_out(lm, layer).float().to(read.device) for layer in range(lm.n_layers))
    return best_congruence(blocks, read, layers)


def token_texts(tokenizer: Any, vocabulary: int) -> list[str]:
    """What every token id stands for, a leading space kept; ids that stand for nothing give ""."""
    pieces = tokenizer.convert_ids_to_tokens(list(range(min(vocabulary, len(tokenizer)))))
    decoded = tokenizer.batch_decode([[id] for id in range(len(pieces))])
    texts = []
    for piece, text in zip(pieces, decoded, strict=True):
        # SentencePiece marks a word's beginning in the piece and drops it when it decodes one token
        begins = piece is not None and piece.startswith("▁") and not text.startswith(" ")
        texts.append(f" {text}" if begins else text)
    return texts + [""] * (vocabulary - len(texts))


def rejection(text: str, special: bool) -> str:
    """Why a token cannot name a next-token neuron; "" if it can.

    A token is a candidate if it begins with a space and has more than one further character.
    """
    if special:
        return "special token"
    if not text:
        return "unused token"
    if "\ufffd" in text:
        return "part of a character"
    if not text.startswith(" "):
        return "does not begin with a space"
    if len(text.strip()) <= 1:
        return "not more than one character"
    return ""


def rejected_by_hand(
    written: Sequence[str], layers: Collection[int], n_neurons: int
) -> set[tuple[int, int]]:
    """The (block, neuron) that a configuration rejects, written as block.neuron.

    Raises:
        UserError: a block that is not searched, or a neuron that it does not have.
    """
    found = set()
    for text in written:
        layer, neuron = map(int, text.split("."))
        if layer not in layers or neuron >= n_neurons:
            searched = ", ".join(map(str, sorted(layers)))
            raise UserError(
                f"lookups.neurons.reject: there is no neuron {text} to reject: blocks "
                f"{searched} are searched (lookups.layers), with neurons "
                f"0 to {n_neurons - 1} each; write block.neuron"
            )
        found.add((layer, neuron))
    return found


def choose_neurons(
    best: Best,
    texts: Sequence[str],
    special: frozenset[int],
    layers: Sequence[int],
    *,
    next_token: int,
    random: int,
    seed: int,
    by_hand: Collection[tuple[int, int]] = (),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The `next_token` most congruent neurons of every block, and as many random ones as asked for.

    Down a block's ranking, a neuron whose token is no candidate is rejected with the reason.
    Random neurons are drawn from the rest of the block.

    Args:
        by_hand: (block, neuron) that are rejected whatever their token, and not drawn either.

    Returns:
        neurons: layer, neuron, kind (next_token|random), token_id, token, congruence, rank (from
            1).
        rejected: layer, neuron, token_id, token, congruence, reason.

    Raises:
        UserError: a block has fewer neurons than asked for.
    """
    chosen, rejected = [], []
    for layer in layers:
        token, score = best.token[layer], best.congruence[layer]

        def row(neuron: int, layer: int = layer, token: Any = token, score: Any = score) -> Any:
            return {
                "layer": layer,
                "neuron": int(neuron),
                "token_id": int(token[neuron]),
                "token": texts[token[neuron]],
                "congruence": float(score[neuron]),
            }

        taken: list[int] = []
        for neuron in np.argsort(-score, kind="stable"):
            if len(taken) == next_token:
                break
            reason = rejection(texts[token[neuron]], int(token[neuron]) in special)
            if (layer, int(neuron)) in by_hand:
                reason = "by hand"
            if reason:
                rejected.append({**row(neuron), "reason": reason})
            else:
                taken.append(int(neuron))
                chosen.append({**row(neuron), "kind": "next_token", "rank": len(taken)})
        out = [neuron for block, neuron in by_hand if block == layer]
        rest = np.setdiff1d(np.arange(len(score)), [*taken, *out])
        if len(taken) < next_token or len(rest) < random:
            raise UserError(
                f"lookups.neurons: block {layer} has {len(score)} neurons, {len(taken)} of them "
                f"next-token neurons of a candidate token; next_token: {next_token} and random: "
                f"{random} are asked for"
            )
        drawn = stream(seed, "random neurons", layer).choice(rest, size=random, replace=False)
        for rank, neuron in enumerate(np.sort(drawn), start=1):
            chosen.append({**row(neuron), "kind": "random", "rank": rank})
    columns = ["layer", "neuron", "kind", "token_id", "token", "congruence", "rank"]
    reasons = ["layer", "neuron", "token_id", "token", "congruence", "reason"]
    return pd.DataFrame(chosen, columns=columns), pd.DataFrame(rejected, columns=reasons)


def token_table(best: Best, texts: Sequence[str], special: frozenset[int]) -> pd.DataFrame:
    """The other view, a row a token: token_id, token, candidate, layer, neuron, congruence."""
    return pd.DataFrame(
        {
            "token_id": np.arange(len(texts)),
            "token": texts,
            "candidate": [not rejection(text, id in special) for id, text in enumerate(texts)],
            "layer": best.layer,
            "neuron": best.neuron,
            "congruence": best.token_congruence,
        }
    )


def by_layer(neurons: pd.DataFrame) -> dict[int, list[int]]:
    """The neurons of every block in a table that has layer and neuron, both sorted."""
    found: dict[int, list[int]] = {}
    for layer, neuron in sorted(zip(neurons["layer"], neurons["neuron"], strict=True)):
        found.setdefault(int(layer), []).append(int(neuron))
    return found
