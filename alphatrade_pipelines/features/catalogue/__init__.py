"""The features themselves, one file a family. The default sets are in ``features.defaults``, every column is listed in docs/features.md."""
