"""The whole HTTP face: the routers and the refusals of every subject."""

from chassis.problem import Refusal

from workflow.approval import api as approval_api
from workflow.calendar import api as calendar_api
from workflow.definition import api as definition_api
from workflow.directory import api as directory_api
from workflow.standin import api as standin_api

ROUTERS = (
    approval_api.router,
    definition_api.router,
    standin_api.router,
    calendar_api.router,
    directory_api.router,
)
REFUSALS: dict[type[Exception], Refusal] = {
    **approval_api.REFUSALS,
    **definition_api.REFUSALS,
    **standin_api.REFUSALS,
    **directory_api.REFUSALS,
}
