"""Where a recipe, a cast and the gates meet: pages in, a release out; one shard at a time, start to end.

    config ── build_corpus ──► snapshot, facts                                     pipeline.corpus
       └───── prepare ───────► fact graph, guesser, run directory                  pipeline.making
                                  │ run_shard                                      pipeline.workshop
                                  ▼
                               shards ── carry_on ──► questions, rejects           pipeline.making
                                                          └── release ──► folder   pipeline.finishing

`run_shard` takes a path and two numbers and opens what it needs once per process, so a process pool, Prefect's task
runners, Ray and Dask all call the same function. A candidate is a pure function of (seed, candidate, recipe, snapshot).
"""
