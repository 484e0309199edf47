"""The llm cast: roles played by language models."""
