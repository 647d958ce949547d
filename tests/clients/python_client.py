"""Python's fal_client as its published source behaves, on Debian's httpx.

The package itself is on a registry that these tests do not use. Its rules, kept here: the address
is https://$FAL_QUEUE_RUN_HOST/<application>; all four fields of a submit's answer are needed, and
its three addresses are used as they are; a status is read by exact keys, `logs` among them; flags
go out as true and false; 408, 409 and 429 are repeated, so the first two must never be said.
"""

import os
import time
import unittest
from dataclasses import dataclass

import httpx

HOST = os.environ["QUERN_HOST"]  # 127.0.0.1:8080
SECRET = os.environ["FAL_KEY"]
POLL_SECONDS = 0.1
SECONDS_MAX = 60


class ClientError(Exception):
    def __init__(self, response):
        self.status = response.status_code
        self.detail = response.json()["detail"]
        super().__init__(f"{self.status}: {self.detail}")


def check(response):
    """What the client does after each answer: an error unless it is 2xx."""
    assert response.status_code not in (408, 409), "the client would repeat this"
    if not response.is_success:
        raise ClientError(response)
    return response


@dataclass
class Queued:
    position: int


@dataclass
class InProgress:
    logs: list | None


@dataclass
class Completed:
    logs: list | None
    metrics: dict
    error: str | None
    error_type: str | None


def parse_status(data):
    if data["status"] == "IN_QUEUE":
        return Queued(position=data["queue_position"])
    if data["status"] == "IN_PROGRESS":
        return InProgress(logs=data["logs"])
    if data["status"] == "COMPLETED":
        return Completed(
            logs=data["logs"],
            metrics=data.get("metrics", {}),
            error=data.get("error"),
            error_type=data.get("error_type"),
        )
    raise ValueError(f"unknown status: {data['status']}")


@dataclass
class Handle:
    client: httpx.Client
    request_id: str
    response_url: str
    status_url: str
    cancel_url: str

    def status(self, with_logs=False):
        return parse_status(
            check(self.client.get(self.status_url, params={"logs": with_logs})).json()
        )

    def iter_events(self, with_logs=False):
        deadline = time.monotonic() + SECONDS_MAX
        while time.monotonic() < deadline:
            status = self.status(with_logs)
            yield status
            if isinstance(status, Completed):
                return
            time.sleep(POLL_SECONDS)
        raise TimeoutError(self.request_id)

    def get(self):
        for _ in self.iter_events():
            pass
        return check(self.client.get(self.response_url)).json()

    def cancel(self):
        check(self.client.put(self.cancel_url))


class Client:
    def __init__(self, queue_run_host, key=SECRET):
        self.base = f"https://{queue_run_host}/"
        self.client = httpx.Client(
            headers={"Authorization": f"Key {key}", "User-Agent": "fal-client/0.2.2 (python)"},
            timeout=SECONDS_MAX,
        )

    def submit(self, application, arguments, *, priority=None, start_timeout=None):
        headers = {}
        if priority is not None:
            headers["X-Fal-Queue-Priority"] = priority
        if start_timeout is not None:
            headers["X-Fal-Request-Timeout"] = str(float(start_timeout))
        data = check(
            self.client.post(self.base + application, json=arguments, headers=headers)
        ).json()
        fields = ("request_id", "response_url", "status_url", "cancel_url")
        return Handle(self.client, **{field: data[field] for field in fields})

    def handle(self, application, request_id):
        """From an id that was kept: the client builds the addresses itself."""
        owner, app = application.split("/")[:2]
        url = f"{self.base}{owner}/{app}/requests/{request_id}"
        return Handle(self.client, request_id, url, url + "/status", url + "/cancel")


class Conversations:
    """What holds on every mount."""

    host = ""
    picture = ""
    slow = ""

    def setUp(self):
        self.client = Client(self.host)
        self.addCleanup(self.client.client.close)

    def test_a_picture_is_made_and_downloaded_without_a_key(self):
        result = self.client.submit(self.picture, {"prompt": "a cup of coffee"}).get()

        output = result["outputs"][0]
        media = httpx.get(output["url"])
        self.assertEqual(media.headers["content-type"], "image/png")
        self.assertEqual(len(media.content), output["file_size"])
        self.assertEqual((output["width"], output["height"]), (128, 128))

    def test_events_tell_of_the_end_with_logs_and_metrics(self):
        handle = self.client.submit(self.picture, {"prompt": "logs"}, priority="low")

        *_, last = handle.iter_events(with_logs=True)

        self.assertIsNone(last.error)
        self.assertGreaterEqual(last.metrics["inference_time"], 0)
        self.assertIn("mixing colours", [entry["message"] for entry in last.logs])

    def test_a_failing_task_raises_with_what_the_model_said(self):
        handle = self.client.submit(self.picture, {"prompt": "fail"})

        with self.assertRaises(ClientError) as raised:
            handle.get()

        self.assertEqual((raised.exception.status, raised.exception.detail), (500, "out of paint"))
        self.assertEqual(handle.status().error, "out of paint")

    def test_faults_in_the_arguments_are_told_by_field(self):
        with self.assertRaises(ClientError) as raised:
            self.client.submit(self.picture, {})

        self.assertEqual(raised.exception.status, 422)
        self.assertEqual(raised.exception.detail[0]["loc"], ["body", "prompt"])

    def test_a_running_task_is_canceled(self):
        handle = self.client.submit(self.slow, {})
        for status in handle.iter_events(with_logs=True):
            if isinstance(status, InProgress):
                break

        handle.cancel()
        *_, last = handle.iter_events()

        self.assertEqual(last.error, "Task canceled")
        with self.assertRaises(ClientError) as raised:
            handle.get()
        self.assertEqual(raised.exception.status, 499)

    def test_a_task_that_does_not_start_in_time_ends(self):
        busy = self.client.submit(self.slow, {})
        self.addCleanup(busy.cancel)
        late = self.client.submit(self.slow, {}, start_timeout=1.5)

        if self.honours_start_timeout:
            with self.assertRaises(ClientError) as raised:
                late.get()
            self.assertEqual(raised.exception.status, 504)
        else:
            self.assertEqual(late.status(), Queued(position=0))
            late.cancel()

    def test_a_wrong_key_is_refused(self):
        stranger = Client(self.host, key="wrong:key")
        self.addCleanup(stranger.client.close)

        response = stranger.client.post(stranger.base + self.picture, json={"prompt": "a"})

        self.assertEqual(response.status_code, 401)


class FalMount(Conversations, unittest.TestCase):
    host = f"{HOST}/fal"
    picture = "fal-ai/flux/dev"
    slow = "fal-ai/slow"
    honours_start_timeout = True

    def test_a_handle_made_from_a_kept_id_works(self):
        kept = self.client.submit(self.picture, {"prompt": "kept"}).request_id

        result = self.client.handle(self.picture, kept).get()

        self.assertEqual(result["images"][0]["content_type"], "image/png")

    def test_a_call_that_is_not_for_the_queue_is_refused_at_once(self):
        """What `run` asks for, where FAL_RUN_HOST is as docs/CLIENTS.md says."""
        run = f"https://{HOST}/not-served/{self.picture}"

        with self.assertRaises(ClientError) as raised:
            check(self.client.client.post(run, json={"prompt": "a"}))

        self.assertEqual((raised.exception.status, raised.exception.detail), (404, "Not Found"))


class QueueMount(Conversations, unittest.TestCase):
    host = f"{HOST}/v1/queue"
    picture = "picture"
    slow = "slow"
    honours_start_timeout = False


class ModelQueueMount(QueueMount):
    host = f"{HOST}/model/v1/queue"


if __name__ == "__main__":
    unittest.main(verbosity=2)
