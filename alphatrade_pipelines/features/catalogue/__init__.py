"""The features themselves, one file a family. ``features.defaults`` chooses and names them; docs/features.md lists every column."""
