"""NVIDIA DataDesigner at the job of `job.py`: a seed column, a text column, a structured column.

Set as its documentation advises for throughput: `max_parallel_requests` of the model is the number of slots (its default
is 4), the native template engine, no profiling of quality. Early shutdown is off, because the faults here are no sign of
a wrong setup, and up to two correction rounds are allowed, as many as ours has. The rest is as it comes.
"""

from __future__ import annotations

import data_designer.config as dd
import job
import pandas as pd
from data_designer.interface import DataDesigner


def main() -> None:
    given = job.options()
    provider = dd.ModelProvider(name="practice", endpoint=given.url, api_key="none")
    inference = dd.ChatCompletionInferenceParams(
        temperature=job.TEMPERATURE, max_tokens=job.MAX_TOKENS, max_parallel_requests=given.slots, timeout=60
    )
    model = dd.ModelConfig(
        alias="m1", model=job.MODEL, provider="practice", inference_parameters=inference, skip_health_check=True
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    subjects = pd.DataFrame({"subject": [job.subject(number) for number in range(given.records)]})
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=subjects))
    builder.add_column(
        dd.LLMTextColumnConfig(
            name="note", model_alias="m1", system_prompt=job.SYSTEM, prompt=job.NOTE.format(subject="{{ subject }}")
        )
    )
    builder.add_column(
        dd.LLMStructuredColumnConfig(
            name="form",
            model_alias="m1",
            system_prompt=job.SYSTEM,
            prompt=job.FORM.format(note="{{ note }}"),
            output_format=job.SCHEMA,
        )
    )
    designer = DataDesigner(artifact_path=given.scratch, model_providers=[provider])
    designer.set_run_config(
        dd.RunConfig(
            disable_early_shutdown=True,
            max_conversation_correction_steps=2,
            jinja_rendering_engine=dd.JinjaRenderingEngine.NATIVE,
            otel_metrics_port=None,
        )
    )
    made = designer.create(builder, num_records=given.records, dataset_name="job").load_dataset()
    job.write(given.out, ({**row, **(row["form"] or {})} for row in made.to_dict("records")))


if __name__ == "__main__":
    main()
