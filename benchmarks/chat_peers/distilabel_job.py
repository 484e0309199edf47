"""distilabel at the job of `job.py`: a pipeline of two text generation tasks.

A task sends one batch of `input_batch_size` rows at a time and waits for the slowest, and both tasks work at once, so the
slots are halved between them; replicas would raise the number of calls in flight beyond the slots. Structured output goes
through instructor in its JSON-schema mode, with two retries. The LLM's own retries stay at their default of 6.
"""

from __future__ import annotations

import json

import job
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import KeepColumns, LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration
from pydantic import BaseModel


class Form(BaseModel):
    words: int
    code: str
    summary: str


def main() -> None:
    given = job.options()
    half = max(1, given.slots // 2)

    def llm(**more: object) -> OpenAILLM:
        sampled = {"temperature": job.TEMPERATURE, "max_new_tokens": job.MAX_TOKENS}
        return OpenAILLM(model=job.MODEL, base_url=given.url, api_key="none", generation_kwargs=sampled, **more)

    with Pipeline(name="job", cache_dir=given.scratch) as pipeline:
        load = LoadDataFromDicts(
            data=[{"subject": job.subject(number)} for number in range(given.records)], batch_size=half
        )
        note = TextGeneration(
            name="note",
            llm=llm(),
            system_prompt=job.SYSTEM,
            template=job.NOTE.format(subject="{{ subject }}"),
            columns=["subject"],
            input_batch_size=half,
            output_mappings={"generation": "note", "model_name": "writer"},
        )
        form = TextGeneration(
            name="form",
            llm=llm(structured_output={"schema": Form, "max_retries": 2}),
            system_prompt=job.SYSTEM,
            template=job.FORM.format(note="{{ note }}"),
            columns=["note"],
            input_batch_size=half,
            output_mappings={"generation": "form"},
        )
        load >> note >> form >> KeepColumns(columns=["subject", "note", "form"])
    made = pipeline.run(use_cache=False)["default"]["train"]
    job.write(given.out, ({**row, **json.loads(row["form"] or "{}")} for row in made))


if __name__ == "__main__":
    main()
