"""Files about a behaviour that cannot be read, or whose markers no text could hold."""

from bad_inputs import file_for
from steerpaper.steering.about import read_about, read_open

_about = file_for(read_about, "tea.yaml")
_open = file_for(read_open, "open.json")

CASES = {
    "no file": lambda folder, model: read_about(folder / "tea.yaml"),
    "a file that is not YAML": _about("title: Tea\nmarkers: {matching: [tea\n"),
    "a file that is not text": _about(b"title: \xff\n"),
    "a control character": _about("title: Tea\nmeasures: \x07\n"),
    "100,000 brackets": _about("[" * 100_000),
    "a list": _about("- title\n"),
    "a text": _about("Tea drinking\n"),
    "an unknown key": _about("title: Tea\nquestions: [Why]\n"),
    "a key that is a number": _about("1: Tea\n"),
    "a key that stands twice": _about("title: Tea\ntitle: Coffee\n"),
    "a marker list that stands twice": _about(
        "markers:\n  matching: [tea]\n  other: [coffee]\n  matching: [cup]\n"
    ),
    "half of a character": _about('title: "\\ud800"\n'),
    "a tag for Python objects": _about("title: !!python/object/apply:os.getcwd []\n"),
    "a date that is none": _about("title: 2024-13-45\n"),
    "a number of 5,000 digits": _about("title: " + "1" * 5000 + "\n"),
    "mappings that multiply when they are merged": _about(
        "a0: &a0 {k: v}\n"
        + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 10))
    ),
    "a title that is a number": _about("title: 2024\n"),
    "a title that is a boolean": _about("title: yes\n"),
    "a title without text": _about("title: ''\n"),
    "a title that is left out": _about("title:\n"),
    "measures that are a list": _about("measures: [tea, coffee]\n"),
    "open questions that are one text": _about("open_questions: Why tea?\n"),
    "open questions that are left out": _about("open_questions:\n"),
    "an open question that is a mapping": _about("open_questions:\n- Why tea: or coffee?\n"),
    "an open question without text": _about("open_questions: ['Why?', ' ']\n"),
    "system prompts that are a list": _about("system_prompts: [Like tea.]\n"),
    "a system prompt for another side": _about("system_prompts: {matching: Like tea.}\n"),
    "a system prompt that is a number": _about("system_prompts: {for: 1}\n"),
    "markers that are a list": _about("markers: [tea]\n"),
    "markers of another side": _about("markers: {for: [tea]}\n"),
    "markers that are one text": _about("markers: {matching: tea}\n"),
    "a marker that is a boolean": _about("markers: {matching: [sure, yes], other: [no]}\n"),
    "a marker that is a number": _about("markers: {matching: [1]}\n"),
    "a marker that is nothing": _about("markers: {matching: [tea, null]}\n"),
    "a marker without letters": _about("markers: {matching: ['100%']}\n"),
    "a marker with a full stop": _about("markers: {matching: ['tea.']}\n"),
    "negators that are one text": _about("negators: pas\n"),
    "a negator of two words": _about("negators: [ne pas]\n"),
    "a negator that is a boolean": _about("negators: [no, not]\n"),
    "a marker that stands twice": _about("markers: {matching: [tea, cup, Tea]}\n"),
    "a marker on both sides": _about("markers: {matching: [tea], other: [tea]}\n"),
    "a marker on both sides in two normal forms": _about(
        "markers: {matching: ['caf\u00e9'], other: ['cafe\u0301']}\n"
    ),
    "a file of open questions that is empty": _open("\n"),
    "a file of open questions that are texts": _open('["Why tea?"]'),
    "a file of open questions by another key": _open('[{"prompt": "Why tea?"}]'),
    "a file of open questions with one that is a number": _open(
        '{"question": "Why?"}\n{"question": 1}'
    ),
}
