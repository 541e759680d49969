"""The policy that a run started from, on disk: RUN/reference, an Orbax tree that is written once and never changes."""

from pathlib import Path

import orbax.checkpoint as ocp

from recoder_jax.learning.checkpoint import first_line, named, renamed


def save_reference(run: str | Path, params) -> None:
    """Write the reference of a run, at once or not at all."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(run).absolute() / "reference", named(params))


def load_reference(run: str | Path, params):
    """The reference of a run in the shapes, dtypes and shardings of `params` (abstract arrays); None where there is none yet.

    Raises ValueError when it is of another policy or damaged.
    """
    path = Path(run).absolute() / "reference"
    if not path.is_dir():
        return None
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            return renamed(params, checkpointer.restore(path, named(params)))
        except (ValueError, KeyError, FileNotFoundError) as error:
            raise ValueError(f"the reference policy in {str(path)!r} cannot be read: {first_line(error)}; choose a new --workdir") from None
