"""Deterministic simulation: the real engine, store, strategies, routers and watches on a virtual clock, with every kind of fault.

    python -m tests.simulation --seeds 1000          a thousand stories, and what happened in them
    python -m tests.simulation --seed 4711           one of them again, told line by line
"""
