"""The workflow: files, configuration, records of what was made; nothing here knows of models."""
