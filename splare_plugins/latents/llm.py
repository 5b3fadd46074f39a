"""Labels written by a language model that the user names: a service's address, or a command."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from splare_plugins.errors import InputError, SplareError
from splare_plugins.latents.table import Shown

KEY = "OPENAI_API_KEY"
LONGEST = 120
"""Characters of a label."""
_SECONDS = 120
_TASK = (
    "Below are passages in which one feature of a text encoder was active; the word where it was strongest stands "
    "between >> and <<. Say in two to six English words what the passages have in common. Answer with these words "
    "only."
)


class Writer(ABC):
    """Writes a label from contexts.

    Attributes:
        name: what the label's table says of who wrote it.
    """

    name: str

    @staticmethod
    def open(place: str, model: str) -> Writer:
        """The writer at an address, or the one that a command is.

        Args:
            place: ``http://`` or ``https://`` and the base of an OpenAI-compatible service, or a command.
            model: name of the model there; a command has none.

        Raises:
            InputError: for what is neither.
        """
        if place.startswith(("http://", "https://")):
            return Service(place, model)
        if model != "default":
            raise InputError(f"--llm-model names a model of a service, and {place!r} is a command; omit it")
        return Command(place)

    @abstractmethod
    def ask(self, prompt: str) -> str:
        """The answer to a prompt.

        Raises:
            SplareError: if there is none.
        """

    def label(self, contexts: Sequence[Shown]) -> str:
        """A label of one line, at most :data:`LONGEST` characters; empty if the writer had nothing to say."""
        lines = (f"- {each.text[: each.start]}>>{each.word}<<{each.text[each.end :]}" for each in contexts)
        answer = self.ask("\n".join([_TASK, "", *lines]))
        line = next((line.strip() for line in answer.splitlines() if line.strip()), "")
        return "".join(each for each in line.strip("\"'`*") if each.isprintable())[:LONGEST].strip()


class Service(Writer):
    """An OpenAI-compatible service; its key is the environment variable ``OPENAI_API_KEY``, if there is one."""

    def __init__(self, address: str, model: str) -> None:
        if not urlsplit(address).hostname:
            raise InputError(f"--llm {address} has no host; give the base of a service, as http://localhost:8080/v1")
        self.address = address.rstrip("/") + "/chat/completions"
        self.model = model
        self.name = f"llm {model}"

    def ask(self, prompt: str) -> str:  # noqa: D102
        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}], "temperature": 0}
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        request = Request(self.address, json.dumps(body).encode(), headers)
        try:
            with urlopen(request, timeout=_SECONDS) as answer:
                values: Any = json.load(answer)
            return str(values["choices"][0]["message"]["content"] or "")
        except (URLError, TimeoutError, ConnectionError) as error:
            raise SplareError(f"{self.address} does not answer ({error}); check --llm, and that it runs") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise SplareError(
                f"{self.address} does not answer as OpenAI's chat completions do; check the address of --llm"
            ) from error


class Command(Writer):
    """A command that reads a prompt from its input and prints a label."""

    def __init__(self, command: str) -> None:
        try:
            self.words = shlex.split(command)
        except ValueError as error:
            raise InputError(f"--llm {command!r} is not a command that a shell could split ({error})") from error
        if not self.words:
            raise InputError("--llm takes a URL or a command, and is empty; omit it to make labels without one")
        self.name = f"llm {os.path.basename(self.words[0])}"  # noqa: PTH119

    def ask(self, prompt: str) -> str:  # noqa: D102
        try:
            done = subprocess.run(self.words, input=prompt, capture_output=True, text=True, timeout=_SECONDS)
        except OSError as error:
            raise InputError(f"the command of --llm, {self.words[0]}, cannot be run: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise SplareError(f"the command of --llm, {self.words[0]}, took more than {_SECONDS} seconds") from error
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise SplareError(f"the command of --llm, {self.words[0]}, failed with {done.returncode}: {last}")
        return done.stdout
