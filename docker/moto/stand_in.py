#!/usr/bin/env python3
"""The EventBridge of docker-compose: moto, with one bus that forwards every event to one SQS queue.

`stand-in serve` runs it until SIGTERM. What it keeps is in memory, so it makes the bus, the queue
and the rule between them at every start. `stand-in check` succeeds once all of that is there.
`stand-in events` prints what the queue holds, one event a line, and leaves it there.

PORT, HOST, AWS_REGION, EVENT_BUS_NAME and any AWS credentials come from the environment.
"""

import http.client
import json
import logging
import os
import signal
import sys
from threading import Event
from typing import Any

SOURCE = "holdfast"
QUEUE = "holdfast-events"
RULE = "everything"
CHECK_SECONDS = 4
EVENTS_MAX = 1000


def serve() -> str | None:
    from moto.server import ThreadedMotoServer

    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request is too many
    server = ThreadedMotoServer(os.environ["HOST"], int(os.environ["PORT"]), verbose=False)
    server.start()
    make(os.environ["EVENT_BUS_NAME"])
    sys.stderr.write("the bus is ready\n")
    stop.wait()
    server.stop()
    return None


def make(bus: str) -> None:
    queues, events = client("sqs"), client("events")
    queue_url = queues.create_queue(QueueName=QUEUE)["QueueUrl"]
    wanted = queues.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    target = {"Id": QUEUE, "Arn": wanted["Attributes"]["QueueArn"]}
    events.create_event_bus(Name=bus)
    pattern = json.dumps({"source": [SOURCE]})
    events.put_rule(Name=RULE, EventBusName=bus, EventPattern=pattern)
    events.put_targets(Rule=RULE, EventBusName=bus, Targets=[target])


def check() -> str | None:
    """Read all of moto's data, which starts faster than an AWS client."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", int(os.environ["PORT"]), timeout=CHECK_SECONDS
    )
    try:
        connection.request("GET", "/moto-api/data.json")
        kept = json.load(connection.getresponse())
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"moto does not answer: {error}"
    finally:
        connection.close()
    rules = kept.get("events", {}).get("Rule", [])
    made = any(rule["name"] == RULE and rule["targets"] for rule in rules)
    return None if made else "the bus is not made yet"


def print_events() -> str | None:
    queues = client("sqs")
    queue_url = queues.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    receipts: list[str] = []
    while len(receipts) < EVENTS_MAX:
        answer = queues.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=10, VisibilityTimeout=60
        )
        messages = answer.get("Messages", [])
        if not messages:
            break
        for message in messages:
            sys.stdout.write(f"{message['Body']}\n")
            receipts.append(message["ReceiptHandle"])
    for receipt in receipts:
        queues.change_message_visibility(
            QueueUrl=queue_url, ReceiptHandle=receipt, VisibilityTimeout=0
        )
    return None


def client(service: str) -> Any:
    import boto3

    return boto3.client(
        service,
        region_name=os.environ["AWS_REGION"],
        endpoint_url=f"http://127.0.0.1:{os.environ['PORT']}",
    )


if __name__ == "__main__":
    (role,) = sys.argv[1:] or ["serve"]
    sys.exit({"serve": serve, "check": check, "events": print_events}[role]())
