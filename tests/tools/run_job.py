"""A Dagster job over all its periods in a process of its own: ``python -m tests.tools.run_job HOME JOB``. Prints the run id.

A process of its own because settings and periods are read when the definitions are imported.
"""

from __future__ import annotations

import os
import sys


def main(home: str, job: str) -> None:
    os.environ["ALPHATRADE_HOME"] = home
    from alphatrade_pipelines import servers
    from alphatrade_pipelines.settings import load_settings

    servers.prepare_dagster_home(load_settings())
    import dagster as dg

    from alphatrade_pipelines.definitions import defs
    from assets.data import PERIODS

    periods = PERIODS.get_partition_keys()
    tags = {"dagster/asset_partition_range_start": periods[0], "dagster/asset_partition_range_end": periods[-1]}
    with dg.DagsterInstance.get() as instance:
        outcome = defs.get_repository_def().get_job(job).execute_in_process(instance=instance, tags=tags)
    sys.stdout.write(f"{outcome.run_id}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
