"""Prefect only: parameters, retries, task runners, artifacts. One task is one shard, never one record.

If a line could be tested without Prefect, it lives in `src/`.
"""
