"""Recipes: pure functions from (seed, cast, web, rng) to a draft or a rejection."""
