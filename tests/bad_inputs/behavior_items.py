"""Raw items that cannot be read, or not be dealt."""

from steerpaper.steering.items import read_items


def _items(text):
    """A file of items that holds `text`."""

    def case(folder, model):
        path = folder / "tea.jsonl"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        read_items(path)

    return case


CASES = {
    "a file that is empty": _items(""),
    "a file that is not text": _items(b"\xff\xfe\x00"),
    "a line that is not JSON": _items('{"question": \n'),
    "an item without its question": _items('{"matching": "a", "other": "b"}\n'),
}
