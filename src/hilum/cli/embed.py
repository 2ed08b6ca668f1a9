"""``hilum embed``: frozen features as a table."""

from typing import Annotated

from cyclopts import Parameter

from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening
from hilum.counts import counted
from hilum.workflows.inference.options import EmbedOptions

SUBJECT = Parameter(help="Whose features: a run folder, a weights file, random, or imagenet.")


def embed(
    subject: Annotated[str, SUBJECT],
    /,
    *,
    options: Annotated[EmbedOptions, FLAT],
    shared: Shared = UNSHARED,
) -> None:
    """Write the frozen backbone's features of every film of stores to a Parquet file.

    One row for each film: source, path, patient, part, and a list of numbers. Films are prepared
    as the run's training films were. Research use only, not a medical device.

    Examples:
      hilum embed runs/moco --data stores/nih14 --out features.parquet
      hilum embed random --data stores/nih14 --split test --out random.parquet
    """
    from hilum.workflows.inference.embed import embed as write_features

    with listening() as listener:
        result = write_features(subject, options, listener)
    answer(
        shared,
        result,
        f"{counted(result.films, 'film')}, {counted(result.features, 'feature')} each. {RESEARCH_ONLY}\n{result.out}",
    )
