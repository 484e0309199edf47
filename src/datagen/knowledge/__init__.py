"""Facts, the constraint algebra, its evaluator, and the certificates it writes."""
