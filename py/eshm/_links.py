# SPDX-License-Identifier: MIT
"""Links of this host, seen from outside."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Union

from . import _native


def list_links() -> List[Dict[str, Any]]:
    """Every link of this host: a dict for each, with the fields of ESHMLinkInfo
    (eshm_data.h). "type" of a direction is the type's text or None. The processes of a
    link never notice.
    """
    return _native.list_links()


def remove_link(name: Union[str, "os.PathLike[str]"], *, force: bool = False) -> None:
    """Removes a link that no process uses; with force also another, or no link at all.

    Raises RoleTaken if a process has a role of it, NoData if nothing has the name.
    """
    _native.remove_link(name, force)
