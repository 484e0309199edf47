"""A run directory: what has been made lies on disk, and nothing else counts as progress.

    run/
      config.json                       the resolved config, its digest, the digest of the snapshot
      attempts.jsonl                    one line per process that worked here
      waves/wave-00000.json             which candidates, and how many of each recipe
      shards/shard-000000000-000000064.parquet    the outcome of candidates 0..63, accepted and rejected
      questions.parquet rejects.parquet           assembled in candidate order
      manifest.json                     written last

Candidates are numbered from 0. A wave is a contiguous block of them, planned from what all earlier waves gave; a shard
is a contiguous block of one wave and the unit of work. Because a candidate's outcome depends on (seed, candidate,
recipe, snapshot) alone and tables are put together in candidate order, shard size and worker count leave no trace in
them. A process killed anywhere loses the shards in flight; whoever resumes reads the directory again.
"""
