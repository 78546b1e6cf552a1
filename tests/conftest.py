"""What every test can ask for."""

pytest_plugins = ["tests.fixtures.servers", "tests.fixtures.core", "tests.fixtures.api"]
