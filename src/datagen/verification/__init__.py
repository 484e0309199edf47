"""One gate per file, cheap ones first; a funnel that keeps every reject with its reason."""
