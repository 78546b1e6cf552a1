#!/usr/bin/env python3
"""`healthcheck PORT /livez`: succeeds if the listener on port $PORT of this container answers 200.

The first argument names the variable that holds the port, so that a port is set in one place.
"""

import http.client
import os
import sys

TIMEOUT_SECONDS = 4


def failure(port: int, path: str) -> str | None:
    """The reason for a failure, for `docker inspect`; proxies in the environment are not used."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{path} on port {port}: {str(error) or type(error).__name__}"
    finally:
        connection.close()
    return None if status == http.client.OK else f"{path} on port {port} answers {status}"


if __name__ == "__main__":
    _, variable, asked = sys.argv
    sys.exit(failure(int(os.environ[variable]), asked))
