"""`doctor`: what stands in the way of a rollout, found out before it. With --print-role, the rights that it needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from adapters.cli.connecting import open_account, routers
from adapters.cli.errors import InputInvalid, StoreUnusable
from adapters.cli.exit_codes import ExitCode
from adapters.cli.files import Choices, compile_plan, load
from adapters.cli.logs import configure_logs
from adapters.cli.output import Document, Printer, counted, printable
from adapters.cli.stores import postgres_place
from adapters.doctor.examining import Examination
from adapters.doctor.findings import Level, Section, ok, problem
from adapters.doctor.leases import LeasePlace
from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.templates import JsonObject
from adapters.settings import LogFormat, LogLevel, Settings
from adapters.settings_store import StoreAddress
from engine.clock import SystemClock
from engine.errors import ClusterUnreachable, StoreError
from engine.model import TargetPlan


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    path: Path | None
    """The deploy file; None looks at the accounts of the settings alone."""
    choices: Choices
    print_role: bool = False


async def examine(options: DoctorOptions, settings: Settings, printer: Printer) -> ExitCode:
    """Raises `InputInvalid`, and `ClusterUnreachable` where roles are asked for that depend on a cluster's kinds."""
    configure_logs(LogLevel.ERROR, LogFormat.TEXT)
    clock = SystemClock()

    @asynccontextmanager
    async def opened(account: str) -> AsyncIterator[Cluster]:
        if account not in settings.accounts:
            known = ", ".join(sorted(settings.accounts)) or "none"
            raise ClusterUnreachable(f"the settings have no account {account}; they have: {known}. Add it there")
        async with open_account(account, settings.accounts[account], clock) as cluster:
            yield cluster

    availability = settings.high_availability
    lease = LeasePlace(availability.account, availability.namespace, availability.name) if availability is not None else None
    targets = _targets(options, lease)
    examination = Examination(opened, routers(), clock, lease)
    if options.print_role:
        return _print_roles(await examination.roles(targets), printer)
    accounts = list(dict.fromkeys(plan.account for plan in targets)) if options.path is not None else sorted(settings.accounts)
    if lease is not None and lease.account not in accounts:
        accounts.append(lease.account)
    if not accounts:
        raise InputInvalid("there is nothing to examine: the settings have no accounts, and no deploy file is named")
    sections = await examination.examine(accounts, targets)
    if isinstance(settings.store, StoreAddress):
        sections.append(await _examine_store(settings, settings.store))
    return _print_sections(sections, printer)


async def _examine_store(settings: Settings, address: StoreAddress) -> Section:
    try:
        place = postgres_place(settings, address)
        from store.postgres_schema import look  # Needs the driver, which has been asked for just now.

        found = await look(place)
    except (StoreError, StoreUnusable) as error:
        finding = problem(str(error))
    else:
        answers, advice = f"PostgreSQL {found.server} answers", "GRANT CREATE ON DATABASE ... TO ..."
        if found.schema:
            finding = ok(f"{answers}, and holds a store of schema {found.schema}")
        elif found.may_create:
            finding = ok(f"{answers}; the first daemon makes the store")
        else:
            finding = problem(f"{answers}; there is no store yet, and the role may not make its schema: {advice}")
    return Section(f"store {address}", (finding,))


def _targets(options: DoctorOptions, lease: LeasePlace | None) -> tuple[TargetPlan, ...]:
    if options.path is not None:
        return compile_plan(load(options.path), options.choices).targets
    if options.print_role and lease is None:
        raise InputInvalid("--print-role prints what a deploy file needs: name the file")
    return ()


# --- what is printed ---------------------------------------------------------------------------------------------------


def _print_sections(sections: list[Section], printer: Printer) -> ExitCode:
    levels = [one.level for section in sections for one in section.findings]
    problems = levels.count(Level.PROBLEM)
    document: Document = {
        "healthy": problems == 0,
        "sections": [
            {
                "subject": section.subject,
                "findings": [{"level": one.level.value, "text": one.text} for one in section.findings],
            }
            for section in sections
        ],
    }
    counts = f"{counted(problems, 'problem')}, {counted(levels.count(Level.WARNING), 'warning')}"
    verdict = counts if problems else f"Nothing stands in the way: {counts}."
    printer.document(document, lambda: "\n".join([*map(_text, sections), verdict]))
    return ExitCode.FAILED if problems else ExitCode.SUCCESS


def _text(section: Section) -> str:
    width = max(map(len, Level))
    lines = [f"  {one.level.value.ljust(width)}  {printable(one.text)}" for one in section.findings]
    return "\n".join([printable(section.subject), *lines, ""])


def _print_roles(roles: dict[str, list[JsonObject]], printer: Printer) -> ExitCode:
    """Text is YAML here: it is what kubectl applies."""
    printer.document({"accounts": roles}, lambda: "---\n".join(map(_role_text, roles.items())))
    return ExitCode.SUCCESS


def _role_text(item: tuple[str, list[JsonObject]]) -> str:
    account, roles = item
    head = f"# What is needed on account {account}. Bind each to the account by a binding of its own kind.\n"
    return head + yaml.safe_dump_all(roles, sort_keys=False, default_flow_style=None, width=120)
