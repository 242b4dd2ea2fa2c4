"""Tables of what the vectors look like: norms, cosine similarities, principal components."""

from itertools import product

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.engine.layers import resolve_layers
    from steerpaper.steering import geometry
    from steerpaper.workflow.files import read_tensors, write_table

    names = list(product(job.params["behaviors"], job.params["contrasts"]))
    activations, vectors = {}, {}
    for name, acts, vecs in zip(names, job.input["activations"], job.input["vectors"], strict=True):
        activations[name] = read_tensors(acts)[0]
        vectors[name] = read_tensors(vecs)[0]["mean_difference"]
    n_layers = len(vectors[names[0]])
    layers = resolve_layers(job.params["layers"], n_layers, "figures.layers")

    write_table(job.output["norms"], geometry.norms(activations, vectors, **job.interval))
    write_table(job.output["cosine_blocks"], geometry.cosine_blocks(vectors))
    write_table(job.output["cosine_behaviors"], geometry.cosine_behaviors(vectors))
    write_table(job.output["pca"], geometry.pca(activations, layers))


if __name__ == "__main__":
    run(main)
