# SPDX-License-Identifier: MIT
"""The options' defaults: those of the C library, from eshm_default_config."""

from __future__ import annotations

from . import _native

LINK = _native.default_config()
CHANNEL = LINK["m2s"]  # s2m has the same
