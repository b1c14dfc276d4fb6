"""The settings of a daemon that takes turns with others: the Lease that decides, and its times.

Only describes; what the times mean is in `adapters.kubernetes.lease`.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from adapters.settings_model import Name, SettingsModel
from adapters.settings_sentences import sentence

_JITTER = 1.2
"""As in client-go: a candidate waits up to this many times its period."""


def _require_object_name(value: str) -> str:
    if re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", value) is None:
        raise sentence("is not a name of Kubernetes; expected small letters, digits and dashes, 63 at most")
    return value


ObjectName: TypeAlias = Annotated[str, AfterValidator(_require_object_name)]
Period: TypeAlias = Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)]


class AvailabilitySettings(SettingsModel):
    account: Name
    """On whose cluster the Lease is."""
    namespace: ObjectName
    name: ObjectName = "headgate"
    lease_duration: Annotated[int, Field(ge=1, le=3_600)] = 15
    renew_deadline: Period = 10.0
    retry_period: Period = 2.0

    @model_validator(mode="after")
    def _require_order(self) -> AvailabilitySettings:
        if not self.lease_duration > self.renew_deadline > self.retry_period * _JITTER:
            raise sentence(
                f"has leaseDuration {self.lease_duration:g}, renewDeadline {self.renew_deadline:g} and retryPeriod "
                f"{self.retry_period:g}; the first has to be longer than the second, and that than {_JITTER} times the third"
            )
        return self
