"""What a run writes down about itself while it trains: figures per update, measurements, alarms.

    metrics.jsonl       {"phase": "rl", "step": 12, "reward": 0.41, "entropy": 0.83, ...}
    evaluations.jsonl   {"phase": "rl", "step": 50, "policy": "rl", "set": "held-out", "mode": "greedy", "n": 800, ...}
    alarms.jsonl        {"phase": "rl", "step": 61, "rule": "no_calls", "sentence": "..."}
    tensorboard/        the same curves for TensorBoard, one run per phase

What the figures mean stands in `METRICS`.
"""

from datagen.training.recording.alarms import Alarm
from datagen.training.recording.evaluations import EvaluationRecord, Mode
from datagen.training.recording.metrics import METRICS, Metric, metrics_table
from datagen.training.recording.recorder import Listener, Recorder, Watcher
from datagen.training.recording.stream import MetricLine, read_alarms, read_evaluations, read_metrics

__all__ = [
    "METRICS",
    "Alarm",
    "EvaluationRecord",
    "Listener",
    "Metric",
    "MetricLine",
    "Mode",
    "Recorder",
    "Watcher",
    "metrics_table",
    "read_alarms",
    "read_evaluations",
    "read_metrics",
]
