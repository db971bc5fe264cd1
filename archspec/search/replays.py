"""What runs in place of training where a study asks a table: a job goes in, the curve that the table has comes out."""

from archspec.errors import StoreError
from archspec.search.job import Job, Outcome, Reports
from archspec.search.table import Table, replay


def replay_task(job: Job, table: Table, reports: Reports) -> Outcome:
    """Live through the evaluation that the table has of a network."""
    try:
        entry = table.answer(job.digest, job.seed, job.trial)
    except StoreError as error:
        return Outcome("error", str(error))
    cause, values, message = replay(entry, int(job.recipe["epochs"]), reports.epoch)
    return Outcome(cause, message, values)
