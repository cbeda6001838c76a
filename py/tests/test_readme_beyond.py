# SPDX-License-Identifier: MIT
"""The guide's blocks on zero copy, queues, records and event loops."""

import pytest
from test_readme import ELSEWHERE, run_blocks_of


@pytest.mark.parametrize("heading", sorted(ELSEWHERE))
def test_blocks_run(name, heading):
    run_blocks_of(heading, name)
