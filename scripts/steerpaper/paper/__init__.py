"""The manuscript: numbers by name, words that follow from them, captions, and the PDF."""
