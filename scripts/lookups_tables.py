"""Write the lookups study's tables."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from pathlib import Path

    from steerpaper.engine.text import load_tokenizer
    from steerpaper.lookups import tables
    from steerpaper.lookups.corpus import ids_of
    from steerpaper.workflow.files import read_json, read_table, whole, write_table

    params = job.params
    neurons = read_table(job.input["neurons"])
    activations = read_table(job.input["activations"])
    folder = Path(job.input["model"]).parent
    config = read_json(folder / "config.json")
    n_layers = config.get("num_hidden_layers") or config["n_layer"]
    tokenizer = load_tokenizer(folder)

    def decode(ids):
        return tokenizer.decode(ids)

    written = {
        "token_blocks": tables.token_blocks(read_table(job.input["tokens"]), n_layers),
        "neurons": tables.neuron_prompts(
            neurons,
            activations,
            ids_of([job.input["train"]], activations["prompt_id"]),
            decode,
        ),
        "prompt_lengths": tables.prompt_lengths(read_table(job.input["truncated"]), neurons),
        "head_attribution": tables.attribution_map(read_table(job.input["attribution"]), neurons),
        "explanation_scores": tables.scores_by_kind(read_table(job.input["scores"]), neurons),
        "ablation_drops": tables.ablation_drops(
            read_table(job.input["head_ablation"]), read_table(job.input["neuron_ablation"])
        ),
    }
    written["explanations"] = tables.explanation_summary(
        written["explanation_scores"], **job.interval
    )
    written["ablations"] = tables.ablation_summary(written["ablation_drops"], **job.interval)
    written["published"] = tables.beside_published(
        read_table(job.input["published"]),
        written["explanations"],
        written["ablations"],
        read_json(job.input["model"])["name"],
    )
    for name, table in written.items():
        write_table(job.output[name], table)
    with whole(job.output["page"]) as part:
        part.write_text(tables.neuron_page(written["neurons"], params["prompts"]), encoding="utf-8")
    with whole(job.output["latex"]) as part:
        shown = written["published"].replace({"neurons": {"next_token": "next-token"}})
        text = shown.to_latex(index=False, na_rep="", float_format="%.3g", escape=True)
        part.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run(main)
