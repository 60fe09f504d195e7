"""Identifiers: one NewType per thing, so that a task id never stands where a claim id is meant."""

from typing import NewType
from uuid import UUID

EventId = NewType("EventId", UUID)
ClaimId = NewType("ClaimId", str)
DocumentId = NewType("DocumentId", str)  # the head of a road: a claim id today, a trip id later
EmployeeId = NewType("EmployeeId", str)
DepartmentId = NewType("DepartmentId", str)
TaskId = NewType("TaskId", str)
PaymentId = NewType("PaymentId", str)
NoticeId = NewType("NoticeId", str)
TenantId = NewType("TenantId", str)  # one OA system of one company, as named in our settings
InstanceId = NewType("InstanceId", str)  # the OA's own id of one running approval
