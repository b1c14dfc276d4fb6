"""The tests of Headgate. They share one vocabulary of builders (`tests.builders`) and the invariants (`tests.invariants`)."""
