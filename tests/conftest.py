"""What every test can ask for."""

pytest_plugins = [
    "tests.fixtures.api",
    "tests.fixtures.aws",
    "tests.fixtures.core",
    "tests.fixtures.servers",
]
