"""Formula to words and words to formula, from one phrase table."""
