"""Every way to move traffic, on real data planes under load: what really arrives where."""
