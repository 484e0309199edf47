"""The practice endpoint: chat completions over HTTP with the symbolic cast behind them, and every fault on demand."""
