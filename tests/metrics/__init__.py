"""Tests of the metric providers: real HTTP on loopback that serves scripted pages and answers."""
