"""People and departments as their source names them. Owner: services/directory-sync.

These two topics are compacted and carry whole states. They are the only ones with names and
addresses; erasure writes a tombstone.
"""

from typing import ClassVar

from pydantic import AwareDatetime

from events.event import Event
from events.ids import DepartmentId, EmployeeId
from events.topic import Topic
from events.values import OpenEnum, ShortText, Word

EMPLOYEE = Topic(
    "directory.employee.v1",
    key="employee_id",
    owner="directory-sync",
    readers=("notifier", "workflow"),
    summary="Every person, whole, with manager, department and roles; those who left stay known.",
    summary_zh="每位员工的完整状态：上级、部门、角色；离职者仍可查。",
    retention=None,
    cleanup="compact",
    pii="personal",
)
DEPARTMENT = Topic(
    "directory.department.v1",
    key="department_id",
    owner="directory-sync",
    readers=("workflow",),
    summary="Every department, whole, with its parent and its head.",
    summary_zh="每个部门的完整状态：上级部门与负责人。",
    retention=None,
    cleanup="compact",
    pii="pseudonymous",
)


class EmploymentStatus(OpenEnum):
    """Whether a person works here now."""

    ACTIVE = "active"
    LEFT = "left"
    UNKNOWN = "UNKNOWN"


class DepartmentStatus(OpenEnum):
    """Whether a department exists now."""

    ACTIVE = "active"
    CLOSED = "closed"
    UNKNOWN = "UNKNOWN"


class EmployeeUpdated(Event):
    """The whole present state of one person."""

    TOPIC: ClassVar[Topic] = EMPLOYEE
    TYPE: ClassVar[str] = "employee.updated.v1"
    SUMMARY_ZH: ClassVar[str] = "一位员工当前的完整状态。"

    employee_id: EmployeeId
    name: ShortText
    email: ShortText | None = None
    department_id: DepartmentId
    manager_id: EmployeeId | None = None  # None: the head of the company
    roles: tuple[Word, ...] = ()  # named duties, such as finance or admin
    language: Word = "zh"
    status: EmploymentStatus
    updated_at: AwareDatetime


class DepartmentUpdated(Event):
    """The whole present state of one department."""

    TOPIC: ClassVar[Topic] = DEPARTMENT
    TYPE: ClassVar[str] = "department.updated.v1"
    SUMMARY_ZH: ClassVar[str] = "一个部门当前的完整状态。"

    department_id: DepartmentId
    name: ShortText
    parent_id: DepartmentId | None = None  # None: the top of the tree
    head_id: EmployeeId | None = None
    status: DepartmentStatus
    updated_at: AwareDatetime
