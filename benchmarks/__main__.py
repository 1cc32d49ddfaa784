"""``python -m benchmarks`` is the main comparison."""

from benchmarks.compare import main

main()
