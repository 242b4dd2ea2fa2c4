"""How NDIF is reached: the key, the deployment of a model, and what its errors mean."""

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import torch
from nnsight.intervention.backends.remote import RemoteBackend, RemoteError
from nnsight.schema.config import CONFIG
from nnsight.schema.request import RequestModel

from steerpaper.engine.folder import told
from steerpaper.engine.together import TooLargeError
from steerpaper.errors import UserError

KEY = "NDIF_API_KEY"
# nnsight's class that both sides build of a model's name
CLASS = "nnsight.modeling.transformers.TransformersModel"
# answers after which the same request can succeed
BUSY = {408, 425, 429, 500, 502, 503, 504}
# what a job's error says where the job is not at fault
QUEUE = ("cancelled or preempted", "look up actor", "evicted", "actordied", "worker died")
LARGE = ("out of memory", "longer than timeout", "timed out")


class Again(Exception):  # noqa: N818
    """A request failed that can succeed if it is sent again."""


class Backend(RemoteBackend):  # type: ignore[misc]
    """nnsight's, asked after instead of listened to, whose results are read as plain tensors."""

    def __init__(self, key: str, env: dict[str, Any]) -> None:
        """Open a request for a model.

        Args:
            key: the model's, as nnsight names it.
            env: how the service is to run it.

        Raises:
            UserError: there is no key for the service.
        """
        super().__init__(key, api_key=api_key(), env=env, blocking=False)
        self.display.enabled = False

    def _serialize(self, tracer: Any) -> bytes:
        """A request as it is sent; nnsight would look through all packages first."""
        blob: bytes = RequestModel.serialize(tracer, self.compress)
        return blob

    def finalize(self, content: bytes) -> Any:
        """Read a result: tensors and lists, and nothing that could run."""
        if self.compress:
            import zstandard

            content = zstandard.ZstdDecompressor().decompress(content)
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def api_key() -> str:
    """The user's key, from the environment.

    Raises:
        UserError: there is none.
    """
    key = os.environ.get(KEY, "").strip()
    if not key:
        raise UserError(
            f"model.remote: the environment variable {KEY} is not set; it holds your key for NDIF "
            "(https://login.ndif.us), which is kept in no file and no log"
        )
    return key


def refused(said: str) -> UserError:
    """The message of a request that comes to nothing."""
    return UserError(f"model.remote: NDIF at {CONFIG.API.HOST}: {said}")


@contextmanager
def reached() -> Iterator[None]:
    """Sort what can go wrong on the way to the service and there.

    Raises:
        Again: another try can succeed.
        TooLargeError: the job takes more memory or time than there is.
        UserError: it cannot.
    """
    try:
        yield
    except RemoteError as error:
        cause = error.__cause__
        if isinstance(cause, httpx.HTTPStatusError):
            raise _of_status(cause.response.status_code, str(error)) from error
        if isinstance(cause, httpx.HTTPError):
            raise Again(told(cause)) from error
        raise _of_job(str(error)) from error
    except httpx.HTTPStatusError as error:
        raise _of_status(error.response.status_code, str(error)) from error
    except (httpx.HTTPError, OSError) as error:
        raise Again(told(error)) from error


def _of_status(status: int, said: str) -> Exception:
    # httpx adds where an encyclopedia explains the number
    said = said.removeprefix("Failed to send request: ").partition("\nFor more")[0]
    said = told(Exception(said))
    if status in BUSY:
        return Again(f"{said} (HTTP {status})")
    way_out = f"; check {KEY}" if status in (401, 403) else ""
    return refused(f"{said} (HTTP {status}){way_out}")


def _of_job(said: str) -> Exception:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = told(Exception(lines[-1] if lines else "a job failed without a word"))
    if any(words in said.lower() for words in QUEUE):
        return Again(last)
    if any(words in said.lower() for words in LARGE):
        return TooLargeError(last)
    return refused(f"the job failed: {last}")


def model_key(id: str, revision: str | None) -> str:
    """What nnsight calls a model of the hub, in requests."""
    about = {"repo_id": id, "revision": revision, "task": "text-generation"}
    return f"{CLASS}:{json.dumps(about)}"


def deployed(id: str, revision: str) -> str:
    """The key of the service's deployment of a model at a commit.

    What the service runs by a branch's name is taken if the branch is at this commit now.

    Raises:
        UserError: it runs another commit, or cannot be reached.
    """
    api_key()
    try:
        answer = httpx.get(f"{CONFIG.API.HOST}/status", timeout=30)
        answer.raise_for_status()
        running: Mapping[str, Any] = answer.json().get("deployments", {})
    except (httpx.HTTPError, ValueError) as error:
        raise refused(f"cannot be asked what it runs: {told(error)}") from error
    mine = [one for one in running.values() if one.get("repo_id") == id]
    mine = [one for one in mine if one.get("task") in (None, "text-generation")]
    for one in mine:
        if one.get("revision") == revision:
            return one.get("model_key") or model_key(id, revision)
    for one in mine:
        branch = one.get("revision") or "main"
        if commit_of(id, branch) == revision:
            return one.get("model_key") or model_key(id, one.get("revision"))
    if mine:
        branch = mine[0].get("revision") or "main"
        raise refused(
            f"runs {id} at '{branch}', which is commit {commit_of(id, branch)}, and "
            f"model.hub.revision is {revision}; pin that commit, or one that it runs"
        )
    others = sorted({str(one.get("repo_id")) for one in running.values()})
    raise refused(f"does not run {id} now; it runs {', '.join(others) or 'nothing'}")


def commit_of(id: str, branch: str) -> str | None:
    """The commit that a branch of the hub's is at.

    Raises:
        UserError: the hub cannot say.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        commit: str | None = HfApi().model_info(id, revision=branch, timeout=30).sha
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise UserError(
            f"model.hub: the hub cannot say which commit '{branch}' of {id} is at, so that it is "
            f"the one that the service runs cannot be told: {told(error)}"
        ) from error
    return commit
