"""What can go wrong between labelled bars and a promoted model; every message says what was expected, what was found, what to do."""

from __future__ import annotations


class ModelError(Exception):
    """Base of the room's errors."""


class ModelDataError(ModelError, ValueError):
    """Training or prediction input that cannot be used."""

    def __init__(self, expected: str, found: str, fix: str = "") -> None:
        self.expected, self.found, self.fix = expected, found, fix
        super().__init__(f"expected {expected}, found {found}.{f' {fix}' if fix else ''}")


class TamperedBundleError(ModelError):
    """A bundle whose files are not the ones its manifest was sealed with. ``file`` names the first offender."""

    def __init__(self, file: str, reason: str) -> None:
        self.file = file
        super().__init__(f"model bundle refused: {file} {reason}. Restore the bundle from the registry or train again.")


class BundleFormatError(ModelError):
    """An intact bundle in a format of another version of the house."""

    def __init__(self, found: object, expected: int) -> None:
        newer = isinstance(found, int) and found > expected
        fix = "Use the version that sealed it." if newer else "Train again: its parts mean something else today, so it is not converted."
        super().__init__(f"expected a model bundle of format {expected}, found format {found!r}. {fix}")


class RegistryError(ModelError):
    """The model registry was asked for something it cannot do, or could not be reached."""


class NoPromotedModelError(RegistryError):
    """No version carries the alias ``champion``."""


class ProfileTooWeakError(RegistryError):
    """The champion passed a weaker gate than this mode of use requires."""


class GateFailedError(RegistryError):
    """Somebody tried to promote a version whose gate report has failed criteria."""
