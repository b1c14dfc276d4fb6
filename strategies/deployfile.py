"""Deploy files: the door to the reading half of this package. What the command line and the daemon use is here.

    loaded = load_deploy_file("deploy.yaml")
    for problem in loaded.problems.errors:      # likewise .warnings
        print(problem)                          # deploy.yaml:7:13: what is wrong, what was expected
    plan = compile_release(loaded, application=None, context={"region": "eu"}, target_filters=("staging",))
    if isinstance(plan, Problems): ...          # what keeps it from being run

A daemon that is sent `loaded.text` and `loaded.sources` reads them again, with the same places in its messages:

    loaded = parse_deploy_text(text, name, read_from_bundle(sources))
"""

from strategies.compile_release import compile_release
from strategies.deploy_reader import LoadedFile, load_deploy_file, parse_deploy_text
from strategies.deployfile_models import DeployFile
from strategies.document_schema import dump_schema
from strategies.manifest_sources import (
    MOST_BYTES,
    Fetch,
    ManifestReader,
    SourceText,
    Unreadable,
    read_from_bundle,
)
from strategies.problems import Problem, Problems

__all__ = [
    "MOST_BYTES",
    "DeployFile",
    "Fetch",
    "LoadedFile",
    "ManifestReader",
    "Problem",
    "Problems",
    "SourceText",
    "Unreadable",
    "compile_release",
    "dump_schema",
    "load_deploy_file",
    "parse_deploy_text",
    "read_from_bundle",
]
