"""Prefect only: parameters, retries, task runners, artifacts. One task is one shard, never one record.

If a line could be tested without Prefect, it lives in `src/`.
"""

import logging

# Prefect attaches its handlers to the loggers that PREFECT_LOGGING_EXTRA_LOGGERS names, and leaves their level alone.
logging.getLogger("datagen").setLevel(logging.INFO)
