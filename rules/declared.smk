"""What report/tables.yaml and report/figures.yaml declare, read for the rules that are made of it."""

TABLES = rows_of(REPORT / "tables.yaml")


def templates_of(row):
    """The files of a row's inputs, as templates of whole paths."""
    found = {}
    for key, template in row["from"].items():
        found[key] = f"{RESULTS}/{template}"
        if template.startswith("data"):
            found[key] = str(WORKFLOW / template)
        if template == "{model}":
            found[key] = f"{MODEL}/manifest.json"
    return found


def names_of(row):
    """What a row's wildcards stand for."""
    behaviors = behaviors_of(row["section"]) if "section" in row else BEHAVIORS
    return {
        "behavior": behaviors,
        "contrast": CONTRASTS,
        "lead": CONTRASTS[:1],
        "benchmark": list(SETS),
        "table": flagged_tables(study_of(row)),
    }


def flagged_tables(study):
    """The tables of a study that have a column of flags."""
    return [
        table
        for row in TABLES.values()
        if study_of(row) == study and is_asked_for(row)
        for table in row.get("flags", [])
    ]


def labels_of(row):
    """Per call of a row's function, the columns that its tables get."""
    wildcards = "".join(f"{{{wildcard}}}" for wildcard in row.get("each", []))
    return [
        {"contrast" if key == "lead" else key: value for key, value in one.items()}
        for one in combinations(wildcards, names_of(row))
        if one
    ]


def settings_of_rule(one):
    """A rule's settings, without this machine's folders; None where they differ by wildcard."""
    settings = one.params.get("settings")
    return None if callable(settings) else portable(settings)


def made_by(files):
    """By input, the settings that its files are made with, which a table has to fit.

    Args:
        files: templates of paths by input.
    """
    found = {}
    for key, template in files.items():
        for one in workflow.rules:
            # as a module, a rule's outputs have a prefix
            if any(str(path).endswith(template) for path in one.output):
                found[key] = settings_of_rule(one)
    return {key: settings for key, settings in found.items() if settings}


def study_of(row):
    """Which of the two studies a row is of: a table says it, of a figure it is the category."""
    return row.get("study", row.get("category", "steering")).lower()


def is_asked_for(row):
    """Is the study made that a row is of, with the part, items and settings that it is for?"""
    if row.get("items") == "dev" and set(BEHAVIORS) <= set(WITHOUT_DEV):
        return False
    if row.get("several") and len(BEHAVIORS) < 2:
        return False
    # published numbers are held against whatever is made
    return (
        study_of(row) in (*config["studies"], "verdict")
        and ("section" not in row or bool(behaviors_of(row["section"])))
        and values_of(config, row.get("when", {})) == row.get("when", {})
    )


MEASURE = STATISTICS["measures"][0]
MEASURED = measured_tables(TABLES)
HEADLINES = headlines(
    {name: row for name, row in TABLES.items() if is_asked_for(row)},
    {
        "measure": MEASURE,
        "title": MEASURES[MEASURE].title,
        "Title": MEASURES[MEASURE].title.capitalize(),
        "unit": MEASURES[MEASURE].unit,
    },
)


FIGURE_ROWS = rows_of(REPORT / "figures.yaml")
FIGURE_KINDS = ["pdf", "png", "csv"]


def figure_files(name, row):
    """A figure rule's outputs: PDF, PNG, which the report shows, and the data that it shows."""
    wildcard = f".{{{row['each']}}}" if "each" in row else ""
    files = {kind: f"{FIGURES}/{name}{wildcard}.{kind}" for kind in FIGURE_KINDS}
    files["png"] = report(
        files["png"],
        # beside the rules, as conda's environments are
        caption=f"../report/captions/{name}.rst",
        category=row["category"],
        subcategory=row["subcategory"],
        labels={
            "figure": row["title"],
            **({row["each"]: f"{{{row['each']}}}"} if "each" in row else {}),
        },
    )
    return files


def tables_of(study):
    """The tables of a study, for a target."""
    return [
        f"{RESULTS}/tables/{table}.csv"
        for row in TABLES.values()
        if study_of(row) == study and is_asked_for(row)
        for table in row["tables"]
    ]


def pages_of_tables():
    """The texts that come with the tables."""
    return [
        f"{RESULTS}/tables/{page}"
        for row in TABLES.values()
        if is_asked_for(row)
        for page in row.get("pages", [])
    ]


def figure_paths(study=""):
    """The files of all figures that the study has, or of one of both studies, for a target."""
    return [
        f"{FIGURES}/{name}{contrast}.{kind}"
        for name, row in FIGURE_ROWS.items()
        if is_asked_for(row) and study in ("", study_of(row))
        for contrast in ([f".{one}" for one in CONTRASTS] if "each" in row else [""])
        for kind in FIGURE_KINDS
    ]


# the study's figures as the manuscript is told of them, in the report's order
PAPER_FIGURES = [
    dict(name=name, contrast=contrast, title=row["title"], tables=row["tables"])
    for name, row in FIGURE_ROWS.items()
    if is_asked_for(row)
    for contrast in (CONTRASTS if "each" in row else [""])
]


def paper_figure_paths(kind):
    """The files of one kind of the manuscript's figures."""
    return [path for path in figure_paths() if path.endswith(f".{kind}")]
