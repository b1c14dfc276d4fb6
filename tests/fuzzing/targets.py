"""What is fuzzed, and what has to hold whatever the bytes are. A target takes bytes, and raises where something does not hold."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote

from aiohttp import web
from yarl import URL

from adapters.hooks.templates import TemplateError, escape_json, render, render_address, variables_in
from adapters.http.bodies import CallbackBody, CommandBody, RetryBody, RollbackBody, SubmitBody
from adapters.http.failures import ApiFailure
from adapters.http.identity import Caller
from adapters.http.known_names import KnownNames
from adapters.http.previews import _Refused, _tail_of
from adapters.http.requests import read_body
from adapters.http.submission import compile_submission
from adapters.metrics.exposition import ExpositionError, ExpositionReader, read_series
from adapters.metrics.expression_parser import ExpressionError, parse_expression
from adapters.metrics.json_expression import JsonExpression, JsonExpressionError, NotApplicable
from adapters.metrics.newrelic import has_range
from adapters.metrics.placeholders import TemplateInvalid, check_address, fill_address
from adapters.settings_reader import SettingsInvalid, parse_settings
from engine.model import ReleasePlan
from strategies.deployfile import Problem, Problems, SourceText, compile_release, parse_deploy_text
from tests.http.stage import MANIFEST, SERVICE, deploy_text

MOST_SECONDS = 10.0
"""Of the processor's time, for one input of at most some kilobytes."""
Target = Callable[[bytes], None]
_ROOT = Path(__file__).parent.parent.parent
_FOREIGN = ("input should", "field required", "validation error", "pydantic", "traceback")


@contextmanager
def bounded() -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < MOST_SECONDS, "it took too long"


def deploy_file(data: bytes) -> None:
    with bounded():
        loaded = parse_deploy_text(data, "deploy.yaml", lambda path: [SourceText(path, MANIFEST + SERVICE)])
        plan = compile_release(loaded, context={"a": "b"})
    assert isinstance(plan, ReleasePlan | Problems)
    _check_problems((*loaded.problems.errors, *loaded.problems.warnings), data)
    if not loaded.problems.refused:
        again = parse_deploy_text(loaded.text, "deploy.yaml", lambda path: [SourceText(path, MANIFEST + SERVICE)])
        assert compile_release(again, context={"a": "b"}) == plan, "the same text is another plan"


def manifest(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with bounded():
        loaded = parse_deploy_text(deploy_text("setWeight: {weight: 10}"), "d", lambda path: [SourceText(path, text)])
        compile_release(loaded)
    _check_problems((one for one in loaded.problems.errors if one.path == "web.yaml"), text.encode())


def settings(data: bytes) -> None:
    with bounded():
        try:
            parse_settings(data, "headgate.yaml")
        except SettingsInvalid as error:
            assert error.problems
            _check_problems(error.problems, data)


def template(data: bytes) -> None:
    text, _, value = data.decode("utf-8", "replace").partition("\0")
    known = {"a": value, "armory.x": "{{a}}", "secrets.s": "{{{armory.x}}}"}
    with bounded(), suppress(TemplateError):
        rendered = render(text, known)
        names = variables_in(text)
        assert names <= known.keys()
        assert names or rendered == text
    with suppress(TemplateError):
        body = json.loads(render('{"text": "{{a}}", "twice": "{{a}}{{armory.x}}"}', known, escape=escape_json))
        assert body == {"text": value, "twice": value + "{{a}}"}
    with suppress(TemplateError):
        url = URL(render_address("https://ci.example/hooks/{{a}}/run?b={{a}}", known))
        assert (url.host, len(url.query), url.fragment) == ("ci.example", 1, "")
        assert url.path.startswith("/hooks/")
    with suppress(TemplateInvalid):
        check_address(text)
        fill_address(text, dict.fromkeys(("query", *_WINDOW), value))


_WINDOW = tuple(f"armory.{end}Time{unit}" for end in ("start", "end") for unit in ("Iso8601", "EpochSeconds", "EpochMillis"))


def exposition(data: bytes) -> None:
    found: list[object] = []
    for piece in (len(data) + 1, 7, 1):
        reader = ExpositionReader([b"a", b"up", b"http_requests_total"], openmetrics=data[:1] == b"#")
        try:
            with bounded():
                samples = [one for at in range(0, len(data), piece) for one in reader.feed(data[at : at + piece])]
                samples += reader.close()
                for series, _ in samples:
                    with suppress(ExpositionError):
                        read_series(series)
            found.append(str(samples))
        except ExpositionError:
            found.append(None)
    assert len(set(map(str, found))) == 1, "it depends on how the page arrives"


def expression(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with bounded():
        has_range(text)
        try:
            tree = parse_expression(text)
        except ExpressionError as error:
            assert 1 <= error.line <= text.count("\n") + 1
            assert error.column >= 1
        else:
            assert parse_expression(str(tree)) == tree, "what is printed reads back as something else"


def json_query(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    document = {"a": [{"b": 1, "c": "x"}, {"b": 2.5, "c": None}], "d": {"e": [[1], [2]]}, "f": "text"}
    with bounded(), suppress(JsonExpressionError, NotApplicable):
        JsonExpression(text).apply(document)


class _Said(web.BaseRequest):
    """A request whose body is at hand."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def content_type(self) -> str:
        return "application/json"

    @property
    def content_length(self) -> int | None:
        return len(self._content)

    async def read(self) -> bytes:
        return self._content


def body(data: bytes) -> None:
    async def read() -> None:
        for kind in (SubmitBody, CommandBody, RollbackBody, RetryBody, CallbackBody):
            try:
                said = await read_body(_Said(data), kind)  # type: ignore[arg-type]
            except ApiFailure as failure:
                assert failure.body.message
                continue
            if isinstance(said, SubmitBody):
                with suppress(ApiFailure):
                    await compile_submission(said, Caller("fuzz", None), _KNOWN)

    with bounded():
        asyncio.run(read())


_KNOWN = KnownNames(frozenset({"model"}), frozenset({"metrics"}))


class _Asked:
    def __init__(self, path: str) -> None:
        self.raw_path = path


def preview_path(data: bytes) -> None:
    """What is sent on is below the Service, whoever reads it: no segment of it leads up, and none is two."""
    text = data.decode("latin-1")
    try:
        tail = _tail_of(_Asked(f"/v1/previews/r/s/t/{text}"))  # type: ignore[arg-type]
    except _Refused:
        return
    path = tail.partition("?")[0]
    for read in (path, unquote(path), unquote(unquote(path))):
        assert not {".", ".."} & set(read.split("/"))
        assert "\\" not in read
        assert read.count("/") == path.count("/")


TARGETS: Mapping[str, Target] = {
    "deploy-file": deploy_file,
    "manifest": manifest,
    "settings": settings,
    "template": template,
    "exposition": exposition,
    "expression": expression,
    "json-query": json_query,
    "body": body,
    "preview-path": preview_path,
}


def seeds(name: str) -> list[bytes]:
    """What inputs that mean something look like: from them it is not far to what nearly means something."""
    examples = sorted((_ROOT / "config/examples").glob("*.yaml"))
    match name:
        case "deploy-file":
            return [path.read_bytes() for path in examples]
        case "manifest":
            return [MANIFEST.encode(), (MANIFEST + SERVICE).encode(), *(one.read_bytes() for one in _manifests())]
        case "settings":
            lines = (_ROOT / "config/headgate.yaml").read_text().splitlines()
            return ["\n".join(line.removeprefix("#") for line in lines if not line.startswith("# ")).encode()]
        case "template":
            return [b"{{a}} {{{armory.x}}}\0value", b'{"a": "{{ secrets.s }}"}\0"', b"https://h/?q={{query}}\0x"]
        case "exposition":
            return [b'# TYPE a counter\na{b="c\\n",d="e"} 1.5 7\nup 1\n# EOF\n', b'http_requests_total{code="200"} NaN\n']
        case "expression":
            return [b'rate(a{b=~"c.*",d!="e"}[30s]) / sum(b) * 100', b"default(quantile(0.9, a_bucket), 0) - -1.5e3"]
        case "json-query":
            return [b"a[?b > `1`].c | [0]", b"sort_by(a, &b)[-1].{x: b, y: length(c)}", b"max(a[].b)"]
        case "body":
            whole = {"name": "d", "text": deploy_text("pause: {untilApproved: true}"), "manifests": {}}
            return [json.dumps(whole).encode(), b'{"kind": "abort", "target": null}', b'{"success": true, "mdMessage": "x"}']
        case _:
            return [b"assets/a.js?x=1", b"%2e%2e/a", b"a/%252e/b"]


def _manifests() -> list[Path]:
    return sorted((_ROOT / "config/examples/manifests").glob("*.yaml"))


def _check_problems(problems: object, data: bytes) -> None:
    lines = len(data.decode("utf-8", "replace").splitlines()) + data.count(b"\r") + 10
    assert isinstance(problems, Iterator | tuple | list)
    for problem in problems:
        assert isinstance(problem, Problem)
        assert 1 <= problem.line <= lines, problem
        assert problem.column >= 1, problem
        assert problem.message.strip(), problem
        assert problem.message.isprintable(), problem
        assert not any(words in problem.message.lower() for words in _FOREIGN), problem
