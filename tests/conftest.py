"""The fixtures of all tests."""

pytest_plugins = [
    "tests.fixtures.api",
    "tests.fixtures.aws",
    "tests.fixtures.core",
    "tests.fixtures.servers",
]
