"""What the suite itself must do, whatever OA is plugged in."""

from types import SimpleNamespace

import pytest
from events import InstanceId
from kit import Absent
from oa_connector.domain import Sight
from test_conformance import called_back


async def test_an_oa_that_sends_no_callbacks_lacks_them_and_does_not_fail():
    able = SimpleNamespace(sights=frozenset({Sight.POLL_ONE}))
    rig = SimpleNamespace(port=SimpleNamespace(capabilities=able))
    with pytest.raises(Absent, match="callbacks"):
        await called_back(rig, InstanceId("1"))
