"""The tests of Headgate; every folder mirrors a package."""
