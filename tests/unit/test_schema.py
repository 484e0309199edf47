"""One schema per table, exported, and honest about itself."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pyarrow as pa
import pytest
from datasets import Features

from datagen.records.schema import TABLES, arrow_schema, json_schema

SCHEMAS = Path(__file__).parents[2] / "schemas"


@pytest.mark.parametrize("table", TABLES)
def test_the_exported_schema_is_the_one_in_the_code(table):
    exported = json.loads((SCHEMAS / f"{table}.json").read_text(encoding="utf-8"))

    assert exported == json_schema(table), "run `datagen schemas export` and commit the result"


@pytest.mark.parametrize("table", TABLES)
def test_a_table_carries_the_metadata_that_gives_readers_the_intended_features(table):
    assert Features.from_arrow_schema(arrow_schema(table)) == TABLES[table]


@pytest.mark.parametrize("table", TABLES)
def test_a_row_of_nulls_is_valid_and_an_unknown_column_is_not(table):
    row = pa.Table.from_pylist([dict.fromkeys(TABLES[table])], schema=arrow_schema(table)).to_pylist()[0]
    validator = jsonschema.Draft202012Validator(json_schema(table))

    assert not list(validator.iter_errors(row))
    assert list(validator.iter_errors(row | {"surprise": 1}))
