"""One run: settings, parts, partition, engine, executors, messages, stored state, evaluation."""
