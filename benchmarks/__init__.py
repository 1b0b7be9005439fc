"""What the library costs: time, memory, growth, and counted work.

    python -m pytest benchmarks          # pytest-benchmark, every scenario and size
    python -m benchmarks.compare         # against a naive reconcile, side by side in one run
    python -m benchmarks.growth          # 10 times the work: how many times the time
    python -m benchmarks.counted         # writes, bytes and moves: exact, compared in CI

Only counted work and growth are ever gated; nanoseconds are printed.
"""
