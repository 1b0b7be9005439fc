"""What the library costs: time, memory, growth, and counted work.

    python -m benchmarks                 # every table of docs/explanation/performance.md
    python -m benchmarks.compare         # against a naive reconcile and another revision
    python -m benchmarks.incremental     # one change, from 1,000 to 1,000,000 endpoints
    python -m benchmarks.growth --check  # 10 times the work: how many times the time
    python -m benchmarks.memory          # bytes an endpoint
    python -m benchmarks.counted         # writes, bytes and moves: exact, compared in CI
    python -m pytest benchmarks          # pytest-benchmark, every scenario and size

Only counted work and growth are ever gated; nanoseconds are printed.
"""
