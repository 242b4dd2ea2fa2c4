"""What papers printed, and whether a study's own numbers agree with it."""
