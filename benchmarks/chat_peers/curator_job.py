"""Bespoke curator at the job of `job.py`: two blocks of requests, the second over the dataset of the first.

Set by its documented knobs: `max_concurrent_requests` is the number of slots, the limits per minute are out of the way, a
record that fails ten tries is left out instead of ending the run.
"""

from __future__ import annotations

import job
from bespokelabs import curator
from datasets import Dataset
from pydantic import BaseModel


class Form(BaseModel):
    words: int
    code: str
    summary: str


class Writer(curator.LLM):
    def prompt(self, row):
        return job.NOTE.format(subject=row["subject"])

    def parse(self, row, response):
        return {"subject": row["subject"], "note": response}


class Clerk(curator.LLM):
    response_format = Form

    def prompt(self, row):
        return job.FORM.format(note=row["note"])

    def parse(self, row, response):
        return {**row, **response.model_dump()}


def main() -> None:
    given = job.options()
    settings = {
        "model_name": job.MODEL,
        "backend": "openai",
        "system_prompt": job.SYSTEM,
        "generation_params": {"temperature": job.TEMPERATURE, "max_tokens": job.MAX_TOKENS},
        "backend_params": {
            "base_url": given.url,
            "api_key": "none",
            "max_concurrent_requests": given.slots,
            "max_requests_per_minute": 10_000_000,
            "max_tokens_per_minute": 10_000_000_000,
            "require_all_responses": False,
        },
    }
    subjects = Dataset.from_list([{"subject": job.subject(number)} for number in range(given.records)])
    notes = Writer(**settings)(subjects, working_dir=str(given.scratch)).dataset
    forms = Clerk(**settings)(notes, working_dir=str(given.scratch)).dataset
    job.write(given.out, forms)


if __name__ == "__main__":
    main()
