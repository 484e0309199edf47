"""Training on our own shards: rows, objectives, a learner that knows no algorithm, engines that sample, and their loops."""
