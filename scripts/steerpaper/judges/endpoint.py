"""Any OpenAI-compatible endpoint as judge.

Every answer is written to a cache the moment it arrives, under a hash of all that was asked: a run
that is cut short goes on where it stopped, and a re-run asks and costs nothing. The key comes from
the environment alone; it is in no file and no message.
"""

import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
from tqdm import tqdm

from steerpaper.errors import UserError
from steerpaper.judges.judge import Asked, FollowUps, Judgement, as_question, parse_answer
from steerpaper.reading import lines_of

log = logging.getLogger(__name__)

# an endpoint's tokenizer is not known; English has about four characters a token
CHARACTERS_A_TOKEN = 4
# refusals of one question that say nothing about the next one
REFUSED = {"content_filter", "context_length_exceeded"}


@dataclass(frozen=True)
class Endpoint:
    """Where an OpenAI-compatible server is, and how it may be used.

    Attributes:
        base_url: up to, not including, /chat/completions; ends in /v1 on most servers.
        model: as the server calls it.
        key_variable: the environment variable that holds the key; None where none is needed.
        max_requests: a run that would need more stops before the first one.
        parallel: requests under way at a time.
        timeout: seconds that one request may take.
        retries: of one request, with growing pauses (rate limits, faults of the server, time-outs).
        price: US dollars for a million tokens, in and out, for the estimate of the cost.
        section: of the configuration, that says all this.
        fewer: the key that makes fewer questions.
    """

    base_url: str
    model: str
    key_variable: str | None
    max_requests: int
    parallel: int
    timeout: float
    retries: int
    price: tuple[float, float]
    section: str
    fewer: str

    def key(self) -> str:
        """The key from the environment.

        Raises:
            UserError: the variable is not set.
        """
        if self.key_variable is None:
            return "none"
        if not os.environ.get(self.key_variable):
            raise UserError(
                f"{self.section}.key_variable: the environment variable {self.key_variable} is not "
                "set; put the endpoint's key into it, or set key_variable: null for an endpoint "
                "that needs none"
            )
        return os.environ[self.key_variable]


class AnswerCache:
    """Answers by content, one JSON object a line, appended as they arrive."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._answers: dict[str, str] = {}
        if self.path.exists():
            # a run that was killed while it wrote leaves half a line: that answer is asked again
            for _, line in lines_of(self.path):
                entry = _cached(line)
                if entry is None:
                    log.warning("%s: a line cannot be read; its answer is asked again", self.path)
                else:
                    self._answers[entry[0]] = entry[1]

    def get(self, key: str) -> str | None:
        """The answer under a key, or None."""
        return self._answers.get(key)

    def put(self, key: str, request: dict[str, Any], answer: str) -> None:
        """Keep an answer, in memory and on disk."""
        line = json.dumps({"key": key, "request": request, "answer": answer})
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+") as out:
                if out.tell():
                    out.seek(-1, os.SEEK_END)
                    if out.read(1) != b"\n":
                        line = "\n" + line
                out.write(line.encode() + b"\n")
            self._answers[key] = answer


def _cached(line: bytes) -> tuple[str, str] | None:
    """Key and answer of a line of the cache; None if it cannot be read."""
    try:
        entry = json.loads(line)
        key, answer = entry["key"], entry["answer"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (key, answer) if isinstance(key, str) and isinstance(answer, str) else None


class EndpointJudge:
    """Asks an endpoint, one chat completion a question, at temperature 0."""

    def __init__(self, endpoint: Endpoint, cache: AnswerCache, *, max_new_tokens: int) -> None:
        self.name = endpoint.model
        self._endpoint = endpoint
        self._cache = cache
        self._max_new_tokens = max_new_tokens
        self._client = openai.OpenAI(
            base_url=endpoint.base_url,
            api_key=endpoint.key(),
            timeout=endpoint.timeout,
            max_retries=endpoint.retries,
        )

    def fits(self, question: Asked) -> bool:
        """An endpoint's context is not known; one that refuses a question is noted and counted."""
        return True

    def prepare(self, questions: Sequence[Asked], follow_ups: Sequence[FollowUps] = ()) -> None:
        """Log how many requests are to come, of how many tokens, at what cost.

        Raises:
            UserError: more requests than `max_requests`.
        """
        to_come = list(questions)
        for number, (question, follow) in enumerate(zip(questions, follow_ups, strict=False)):
            answer = self._cache.get(self._key(question))
            if answer is None:
                # what is still to come is taken to be as long as it may be, and unlike all others
                answer = f"{number} ".ljust(self._max_new_tokens * CHARACTERS_A_TOKEN, "x")
            to_come += follow(answer)
        requests = self._unanswered(to_come)
        characters = sum(len(m["content"]) for one in requests.values() for m in one["messages"])
        tokens = (characters / CHARACTERS_A_TOKEN, len(requests) * self._max_new_tokens)
        cost = sum(
            count * price / 1e6 for count, price in zip(tokens, self._endpoint.price, strict=True)
        )
        priced = f"at most ${cost:.2f}" if any(self._endpoint.price) else "no price configured"
        log.info(
            "%s at %s: %d requests, about %d tokens in, at most %d out, %s; answered before: %s",
            self.name,
            self._endpoint.base_url,
            len(requests),
            *tokens,
            priced,
            self._cache.path,
        )
        if len(requests) > self._endpoint.max_requests:
            raise UserError(
                f"{self._endpoint.section}.max_requests: {len(requests)} requests are needed, "
                f"{self._endpoint.max_requests} allowed, none was made; raise the cap, or lower "
                f"{self._endpoint.fewer}"
            )

    def write(self, questions: Sequence[Asked]) -> list[str]:
        """An answer to every question; empty where the endpoint gave none."""
        return self._ask(questions, "answers")

    def judge(self, judgements: Sequence[Judgement]) -> list[bool | None]:
        """One request a judgement; None where the answer is neither Yes nor No."""
        answers = self._ask([judgement.question for judgement in judgements], "judgements")
        return [parse_answer(answer) for answer in answers]

    def _request(self, asked: Asked) -> dict[str, Any]:
        question = as_question(asked)
        told = [{"role": "system", "content": question.system}] if question.system else []
        return {
            "model": self._endpoint.model,
            "messages": [*told, {"role": "user", "content": question.text}],
            "max_tokens": self._max_new_tokens,
            "temperature": 0,
        }

    def _key(self, asked: Asked) -> str:
        """What an answer is kept under: all that is asked, and of a later time which."""
        nth = as_question(asked).nth
        said = [self._endpoint.base_url, self._request(asked), *([nth] if nth > 1 else [])]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def _unanswered(self, questions: Iterable[Asked]) -> dict[str, dict[str, Any]]:
        """The requests that are still to be made, by key; equal questions are one."""
        requests = {self._key(question): self._request(question) for question in questions}
        return {key: one for key, one in requests.items() if self._cache.get(key) is None}

    def _ask(self, questions: Sequence[Asked], what: str) -> list[str]:
        """Answers in the questions' order; equal questions are asked once."""
        todo = self._unanswered(questions)
        failed = threading.Event()

        def fetch(key: str) -> None:
            # the first fault ends it: what is under way is kept, what waits is not asked
            if failed.is_set():
                return
            try:
                self._cache.put(key, todo[key], self._completion(todo[key]))
            except UserError:
                failed.set()
                raise

        with (
            tqdm(total=len(todo), desc=what, unit="request", mininterval=10) as bar,
            ThreadPoolExecutor(self._endpoint.parallel) as pool,
        ):
            for _ in pool.map(fetch, todo):
                bar.update()
        return [self._cache.get(self._key(question)) or "" for question in questions]

    def _completion(self, request: dict[str, Any]) -> str:
        at = f"{self._endpoint.section}: {self._endpoint.base_url}"
        kept = f"the answers so far are kept in {self._cache.path}; run again to go on"
        try:
            completion = self._client.chat.completions.create(**request)
            answer = completion.choices[0].message.content or ""
            # half of a character could be written into no file
            return answer.encode(errors="replace").decode()
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise UserError(
                f"{at} refuses the key (status {error.status_code}); check the environment "
                f"variable {self._endpoint.key_variable}. {kept}"
            ) from None
        except openai.APITimeoutError:
            raise UserError(
                f"{at} did not answer within {self._endpoint.timeout:g} s, tried "
                f"{self._endpoint.retries + 1} times; raise endpoint.timeout. {kept}"
            ) from None
        except openai.APIConnectionError as error:
            raise UserError(
                f"{at} cannot be reached, tried {self._endpoint.retries + 1} times "
                f"({error.__cause__ or error}); is it running, and is base_url right? {kept}"
            ) from None
        except openai.APIStatusError as error:
            if error.code in REFUSED:
                log.warning("a question was refused (%s): it counts as not answered", error.code)
                return ""
            said = self._without_key(error.message)
            raise UserError(
                f"{at} answers with status {error.status_code}: {said}. {kept}"
            ) from None
        except (
            *(openai.APIError, ValueError, AttributeError, TypeError, IndexError),
            RecursionError,
        ) as error:
            raise UserError(
                f"{at} answers something else than a chat completion "
                f"({self._without_key(str(error))}); is base_url right? It mostly ends in "
                f"/v1. {kept}"
            ) from None

    def _without_key(self, message: str) -> str:
        return " ".join(message.replace(self._client.api_key, "…").split())[:300]
