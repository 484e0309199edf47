"""The search environment: one stateless core over a snapshot, and the protocols that trainers speak as thin skins over it."""
