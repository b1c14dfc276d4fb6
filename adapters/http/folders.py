"""The API's deploy folders: what lies in them, and what became of it. Only looked at here; files are put there on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import web

from adapters.folders.standing import FileStanding, FolderStanding
from adapters.http.bodies import ErrorCode, FolderBody, FolderFileBody, FolderList, ProblemBody
from adapters.http.failures import ApiFailure, json_answer
from adapters.http.identity import CALLER


class FolderViews:
    def __init__(self, standings: Callable[[], Sequence[FolderStanding]]) -> None:
        self._standings = standings

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/folders", self.list)]

    async def list(self, request: web.Request) -> web.Response:
        """Raises `ApiFailure` for callers who may see a part only: a file that cannot be read belongs to no application yet."""
        caller = request[CALLER]
        if not caller.sees_everything:
            message = f"deploy folders hold files of all applications, and the token {caller.name} may read only some of them"
            raise ApiFailure(ErrorCode.FORBIDDEN, message)
        folders = tuple(
            FolderBody(path=one.path, files=tuple(map(_file_body, one.files)), problem=one.problem)
            for one in self._standings()
        )
        return json_answer(FolderList(folders=folders))


def _file_body(file: FileStanding) -> FolderFileBody:
    problems = tuple(
        ProblemBody(path=one.path, line=one.line, column=one.column, message=one.message) for one in file.problems
    )
    return FolderFileBody(
        name=file.name, state=file.state, release=file.release, message=file.message, problems=problems
    )
