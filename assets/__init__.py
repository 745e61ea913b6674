"""What exists: the software-defined assets and their quality gates. Thin: the engine does the work, these describe it."""
