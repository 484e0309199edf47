"""Everything that opens a socket: chat models, web search, page fetch; with admission, cache and a ledger of money."""
